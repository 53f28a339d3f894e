/* SPDX-License-Identifier: AGPL-3.0-or-later
 *
 * The launcher's half of a launch: everything that can be had as a descriptor before the clock starts.
 *
 * A source is resolved once, here, to a descriptor. Host paths come from the owner's descriptors and may contain
 * symlinks; what lies `beneath` them may have been written by an app, so no symlink is followed there.
 */
#define _GNU_SOURCE
#include "launch_impl.h"

#include <errno.h>
#include <linux/sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "mount_api.h"

void launch_fail(struct launch_failure *failure, const char *step, const char *object, long result)
{
	size_t length = strnlen(object, sizeof failure->object - 1);
	failure->step = step;
	memcpy(failure->object, object, length);
	failure->object[length] = 0;
	failure->error = (int)-result;
}

static int write_map(pid_t pid, const char *file, uint32_t inside, const struct plan_idmap *map)
{
	char path[64], line[64];
	int length = snprintf(line, sizeof line, "%u %u %u\n", inside, map->outside, map->count);
	snprintf(path, sizeof path, "/proc/%d/%s", pid, file);
	int fd = open(path, O_WRONLY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	int result = write(fd, line, (size_t)length) == length ? 0 : -errno;
	close(fd);
	return result;
}

/* A user namespace with this map. A short-lived process holds it while the map is written; then the descriptor does. */
static int make_user_namespace(const struct plan_idmap *map)
{
	int pidfd = -1, gate[2], result;
	struct clone_args arguments = {
	    .flags = CLONE_NEWUSER | CLONE_PIDFD, .pidfd = (uint64_t)(uintptr_t)&pidfd, .exit_signal = SIGCHLD};
	if (pipe2(gate, O_CLOEXEC) < 0)
		return -errno;
	long pid = sys2(__NR_clone3, &arguments, sizeof arguments);
	if (pid == 0) { /* a copy of the launcher: raw calls only, until the gate opens or the launcher is gone */
		char byte;
		sys3(__NR_dup3, gate[0], 0, 0);
		sys3(__NR_close_range, 1, ~0U,
		     0); /* the gates of other threads' launches too, or two would wait for each other */
		sys3(__NR_read, 0, &byte, 1);
		for (;;)
			sys1(__NR_exit_group, 0);
	}
	close(gate[0]);
	result = (int)pid;
	if (pid > 0) {
		if (!(result = write_map((pid_t)pid, "uid_map", map->uid, map)) &&
		    !(result = write_map((pid_t)pid, "gid_map", map->gid, map)))
			result = (int)sys3(__NR_ioctl, pidfd, PIDFD_GET_USER_NAMESPACE_, 0);
	}
	close(gate[1]);
	if (pid > 0) {
		while (waitpid((pid_t)pid, NULL, 0) < 0 && errno == EINTR)
			;
		close(pidfd);
	}
	return result;
}

static long open_source(const struct plan *plan, const struct plan_mount *mount)
{
	const char *beneath = plan_string(plan, mount->beneath);
	struct stat state;
	long fd = open(plan_string(plan, mount->source), O_PATH | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	if (*beneath) {
		long inner = open_beneath((int)fd, beneath, 0, RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS);
		close((int)fd);
		if (inner < 0)
			return inner;
		fd = inner;
	}
	if (fstat((int)fd, &state) < 0) {
		close((int)fd);
		return -EIO;
	}
	if (mount->flags & MF_FILE ? !S_ISREG(state.st_mode) : !S_ISDIR(state.st_mode)) {
		close((int)fd);
		return mount->flags & MF_FILE ? -EISDIR : -ENOTDIR;
	}
	return fd;
}

static int prepare_mount(struct prepared *prepared, uint32_t index, struct launch_failure *failure)
{
	const struct plan *plan = prepared->plan;
	const struct plan_mount *mount = &plan->mounts[index];
	const char *path = plan_string(plan, mount->source);
	uint64_t attributes = MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV;

	long source = open_source(plan, mount);
	if (source == -ENOENT && mount->flags & MF_OPTIONAL)
		return 0;
	if (source < 0)
		return launch_fail(failure, "open the source of a mount", path, source), -1;
	long tree = mount_open_tree((int)source, "");
	close((int)source);
	if (tree < 0)
		return launch_fail(failure, "clone a mount", path, tree), -1;
	if (mount->flags & MF_READ_ONLY || mount->kind == MOUNT_LAYER)
		attributes |= MOUNT_ATTR_RDONLY;
	if (mount->flags & MF_NO_EXEC)
		attributes |= MOUNT_ATTR_NOEXEC;
	long result =
	    mount_set((int)tree, attributes, mount->idmap >= 0 ? prepared->user_namespaces[mount->idmap] : -1);
	if (result < 0) {
		close((int)tree);
		return launch_fail(failure, mount->idmap >= 0 ? "map the ids of a mount" : "restrict a mount", path,
				   result),
		       -1;
	}
	prepared->mounts[index] = (int)tree;
	return 0;
}

int launch_prepare(const struct plan *plan, struct prepared *prepared, struct launch_failure *failure)
{
	prepared->plan = plan;
	memset(prepared->user_namespaces, 0xff, sizeof prepared->user_namespaces);
	memset(prepared->mounts, 0xff, sizeof prepared->mounts);
	failure->error = 0;

	/* The newest thing that a launch needs: what has it, has all the rest. */
	long abi = sys3(__NR_landlock_create_ruleset, 0, 0, LANDLOCK_VERSION_QUERY);
	if (abi < 6)
		return launch_fail(failure, "find landlock ABI 6 in this kernel (Linux 6.12, with landlock in lsm=)",
				   "", abi < 0 ? abi : -EOPNOTSUPP),
		       -1;

	for (uint32_t i = 0; i < plan->header->idmaps.count; i++) {
		int fd = make_user_namespace(&plan->idmaps[i]);
		if (fd < 0) {
			launch_fail(failure, "make a user namespace", "", fd);
			launch_release(prepared);
			return -1;
		}
		prepared->user_namespaces[i] = fd;
	}
	for (uint32_t i = 0; i < plan->header->mounts.count; i++) {
		const struct plan_mount *mount = &plan->mounts[i];
		bool has_source = mount->kind == MOUNT_LAYER || mount->kind == MOUNT_BIND ||
				  (mount->kind == MOUNT_ROOT && plan_string(plan, mount->source)[0] == '/');
		if (has_source && prepare_mount(prepared, i, failure) < 0) {
			launch_release(prepared);
			return -1;
		}
	}
	return 0;
}

static void close_all(int *fds, size_t count)
{
	for (size_t i = 0; i < count; i++)
		if (fds[i] >= 0) {
			close(fds[i]);
			fds[i] = -1;
		}
}

void launch_release(struct prepared *prepared)
{
	close_all(prepared->user_namespaces, PLAN_IDMAPS_MAX);
	close_all(prepared->mounts, PLAN_MOUNTS_MAX);
}

int launch_overlay_view(const char *const *layers, size_t count, struct launch_failure *failure)
{
	failure->error = 0;
	if (count == 1) { /* overlayfs wants two layers */
		long tree = mount_open_tree(AT_FDCWD, layers[0]);
		long result = tree < 0
				  ? tree
				  : mount_set((int)tree, MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV, -1);
		if (result >= 0)
			return (int)tree;
		if (tree >= 0)
			close((int)tree);
		return launch_fail(failure, "clone a mount", layers[0], result), -1;
	}
	long context = sys2(__NR_fsopen, "overlay", FSOPEN_CLOEXEC);
	if (context < 0)
		return launch_fail(failure, "open overlayfs", "", context), -1;
	for (size_t i = 0; i < count; i++) {
		long result = mount_option((int)context, "lowerdir+", layers[i]);
		if (result < 0) {
			close((int)context);
			return launch_fail(failure, "add a layer", layers[i], result), -1;
		}
	}
	long view = mount_create((int)context, MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV);
	if (view < 0)
		return launch_fail(failure, "lay directories over one another", layers[0], view), -1;
	return (int)view;
}
