/* SPDX-License-Identifier: AGPL-3.0-or-later
 *
 * The mounts of a container, made by the child of a launch.
 *
 * Targets are resolved beneath the new root by openat2, and mounts are attached descriptor to descriptor. The strings
 * that overlayfs wants name directories on a private tmpfs (the stage), which nothing else can see. The layers are
 * attached there, and not handed over as detached mounts, since Linux 6.12 takes only attached ones.
 */
#define _GNU_SOURCE
#include "child.h"

#include <errno.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#define TTY_GROUP 5 /* devpts(5): ptys belong to it */
#define TMPFS_INODES "262144"
#define NAME_SPACE 64
#define ROOT "root" /* on the stage */

/* --- file systems ------------------------------------------------------------------------------------------------- */

static int new_tmpfs(struct child *child, uint64_t size, uint32_t mode, uint32_t uid, uint32_t gid, uint64_t attributes)
{
	char number[32];
	int context = (int)must(child, sys2(__NR_fsopen, "tmpfs", FSOPEN_CLOEXEC), "open tmpfs", "");
	append_number(number, size, 10);
	must(child, mount_option(context, "size", number), "set the size of a tmpfs", number);
	must(child, mount_option(context, "nr_inodes", TMPFS_INODES), "set the inodes of a tmpfs", "");
	append_number(number, mode, 8);
	must(child, mount_option(context, "mode", number), "set the mode of a tmpfs", number);
	append_number(number, uid, 10);
	must(child, mount_option(context, "uid", number), "set the owner of a tmpfs", number);
	append_number(number, gid, 10);
	must(child, mount_option(context, "gid", number), "set the group of a tmpfs", number);
	return (int)must(child, mount_create(context, attributes | MOUNT_ATTR_NOSUID), "make a tmpfs", "");
}

/* Overlay from options that the caller has set. overlayfs makes its work directory, and later every file, as the one who
 * mounts it; id 0 of the host is not in the id map of the upper layer, so that has to be id 0 of the container, with
 * the capabilities that the change of the file system ids took away. */
static int create_overlay(struct child *child, int context, uint64_t attributes, const char *object)
{
	become_file_user(child, 0, 0);
	set_capabilities(child, child->capabilities, "keep capabilities for overlayfs");
	long mount = mount_create(context, attributes | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV);
	become_root_again();
	return (int)must(child, mount, "lay directories over one another", object);
}

/* Attach a detached mount at a new directory of the stage, and close it. */
static const char *attach_to_stage(struct child *child, int mount, char *space, const char *prefix, uint32_t number)
{
	stage_name(space, prefix, number);
	must(child, sys3(__NR_mkdirat, AT_FDCWD, space, 0700), "make a directory on the stage", space);
	must(child, mount_attach_at(mount, AT_FDCWD, space), "attach a layer", space);
	return space;
}

/* The options of an overlay for its writable layer: the directories "upper" and "work" of a mount on the stage. */
static void add_upper(struct child *child, int context, char *space, const char *object)
{
	char *end = space;

	while (*end)
		end++;
	append(end, "/work");
	must(child, mount_option(context, "workdir", space), "set the work directory", object);
	append(end, "/upper");
	must(child, mount_option(context, "upperdir", space), "set the writable layer", object);
	/* Whatever the kernel's defaults are: a file in the upper layer has all of its content, at its own place. */
	must(child, mount_option(context, "metacopy", "off"), "want whole files", object);
	must(child, mount_option(context, "redirect_dir", "off"), "want whole directories", object);
}

/* A writable layer on a fresh private tmpfs; its top directory belongs to `uid` and `gid` of the container. */
static void add_private_upper(struct child *child, int context, uint64_t size, uint32_t number, uint32_t uid,
			      uint32_t gid)
{
	char space[NAME_SPACE];
	int upper = new_tmpfs(child, size, 0777, child->base, child->base, MOUNT_ATTR_NODEV);

	become_file_user(child, uid, gid);
	long made = sys3(__NR_mkdirat, upper, "upper", 0755);
	if (made >= 0)
		made = sys3(__NR_mkdirat, upper, "work", 0755);
	become_root_again();
	must(child, made, "make a private writable layer", "");
	attach_to_stage(child, upper, space, "upper", number);
	sys1(__NR_close, upper);
	add_upper(child, context, space, "");
}

static void make_stage(struct child *child)
{
	const char *stage = child->request->stage;
	int mount;

	must(child, sys5(__NR_mount, 0, "/", 0, 0x4000 /* MS_REC */ | MS_PRIVATE_, 0), "make the mounts private", "/");
	mount = new_tmpfs(child, 1 << 20, 0700, 0, 0, MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC);
	must(child, mount_attach_at(mount, AT_FDCWD, stage), "attach the stage", stage);
	sys1(__NR_close, mount);
	must(child, sys1(__NR_chdir, stage), "enter the stage", stage);
	must(child, sys3(__NR_mkdirat, AT_FDCWD, ROOT, 0755), "make a directory on the stage", ROOT);
	must(child, sys3(__NR_mkdirat, AT_FDCWD, "empty", 0555), "make a directory on the stage", "empty");
	child->empty_directory =
	    (int)must(child, sys4(__NR_openat, AT_FDCWD, "empty", O_PATH | O_DIRECTORY | O_CLOEXEC, 0),
		      "open a directory on the stage", "empty");
	child->empty_file = (int)must(child, sys4(__NR_openat, AT_FDCWD, "nothing", O_CREAT | O_CLOEXEC, 0444),
				      "make a file on the stage", "nothing");
}

/* The root from its layers; `index` is that of the ROOT operation, the layers lie before it. */
static void make_root(struct child *child, uint32_t index)
{
	const struct plan_mount *mount = &child->plan->mounts[index];
	const char *upper = plan_string(child->plan, mount->source);
	const int *prepared = child->request->prepared->mounts;
	char space[NAME_SPACE];
	int root;

	if (index == 1 && !*upper) {
		root = prepared[0];
	} else if (!index) {
		root = new_tmpfs(child, mount->size, 0755, child->base, child->base, MOUNT_ATTR_NODEV);
	} else {
		int context = (int)must(child, sys2(__NR_fsopen, "overlay", FSOPEN_CLOEXEC), "open overlayfs", "");
		for (uint32_t i = 0; i < index; i++) {
			attach_to_stage(child, prepared[i], space, "layer", i);
			must(child, mount_option(context, "lowerdir+", space), "add a layer", space);
		}
		if (*upper == '/') {
			attach_to_stage(child, prepared[index], space, "upper", index);
			add_upper(child, context, space, upper);
		} else if (*upper) {
			add_private_upper(child, context, mount->size, index, 0, 0);
		}
		root = create_overlay(child, context, *upper ? 0 : MOUNT_ATTR_RDONLY, "/");
	}
	must(child, mount_attach_at(root, AT_FDCWD, ROOT), "attach the root", "/");
	child->root = (int)must(child, sys4(__NR_openat, AT_FDCWD, ROOT, O_PATH | O_DIRECTORY | O_CLOEXEC, 0),
				"open the root", "/");
}

/* --- targets ------------------------------------------------------------------------------------------------------ */

/* Make what is missing of a target with the app's own rights, following no symlink, and open it. */
static long open_or_make(struct child *child, const char *path, bool is_file)
{
	const struct plan_header *header = child->header;
	long at = sys3(__NR_fcntl, child->root, F_DUPFD_CLOEXEC, 3);
	char name[256];

	become_file_user(child, header->uid, header->gid);
	for (path = without_slash(path); at >= 0 && *path;) {
		size_t length = 0;
		for (; path[length] && path[length] != '/' && length < sizeof name - 1; length++)
			name[length] = path[length];
		name[length] = 0;
		for (path += length; *path == '/'; path++)
			;
		uint64_t kind = is_file && !*path ? 0 : O_DIRECTORY;
		long next = open_beneath((int)at, name, kind, RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS);
		if (next == -ENOENT) {
			next =
			    kind ? sys3(__NR_mkdirat, at, name, 0755) : sys4(__NR_mknodat, at, name, S_IFREG | 0644, 0);
			if (next >= 0)
				next = open_beneath((int)at, name, kind, RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS);
		}
		sys1(__NR_close, at);
		at = next;
	}
	become_root_again();
	return at;
}

static int open_target(struct child *child, const struct plan_mount *mount)
{
	const char *path = plan_string(child->plan, mount->target);
	long fd;
	if (mount->flags & MF_CREATE_TARGET)
		fd = open_or_make(child, path, mount->flags & MF_FILE);
	else
		fd = open_in_root(child->root, path, mount->flags & MF_FILE ? 0 : O_DIRECTORY);
	return (int)must(child, fd, "open a mount point", path);
}

/* Attach the mount of operation `index`. Its descriptor is kept: what is there can be named without its path. */
static void attach(struct child *child, int mount, uint32_t index)
{
	const struct plan_mount *operation = &child->plan->mounts[index];
	int target = open_target(child, operation);
	must(child, mount_attach(mount, target), "attach a mount", plan_string(child->plan, operation->target));
	sys1(__NR_close, target);
	child->attached[index] = mount;
}

/* --- the kinds of mounts ------------------------------------------------------------------------------------------ */

static uint64_t attributes_of(const struct plan_mount *mount)
{
	return (mount->flags & MF_READ_ONLY ? MOUNT_ATTR_RDONLY : 0) |
	       (mount->flags & MF_NO_EXEC ? MOUNT_ATTR_NOEXEC : 0);
}

static void mount_tmpfs(struct child *child, const struct plan_mount *mount, uint32_t index)
{
	bool root_owned = mount->flags & MF_ROOT_OWNED;
	attach(child,
	       new_tmpfs(child, mount->size, mount->mode, child->base + (root_owned ? 0 : child->header->uid),
			 child->base + (root_owned ? 0 : child->header->gid), attributes_of(mount) | MOUNT_ATTR_NODEV),
	       index);
}

static void mount_proc(struct child *child, const struct plan_mount *mount, uint32_t index)
{
	int context = (int)must(child, sys2(__NR_fsopen, "proc", FSOPEN_CLOEXEC), "open proc", "");
	attach(child,
	       (int)must(child,
			 mount_create(context,
				      attributes_of(mount) | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC),
			 "make proc", ""),
	       index);
}

static void mount_dev(struct child *child, const struct plan_mount *mount)
{
	static const struct {
		const char *name;
		unsigned major, minor;
	} nodes[] = {{"null", 1, 3},   {"zero", 1, 5},	  {"full", 1, 7},
		     {"random", 1, 8}, {"urandom", 1, 9}, {"tty", 5, 0}};
	static const char *const links[][2] = {{"fd", "/proc/self/fd"},
					       {"stdin", "/proc/self/fd/0"},
					       {"stdout", "/proc/self/fd/1"},
					       {"stderr", "/proc/self/fd/2"},
					       {"ptmx", "pts/ptmx"}};
	char number[16];
	/* The only mount with device nodes: made here, and never writable from inside. */
	int dev = new_tmpfs(child, 1 << 16, 0755, child->base, child->base, MOUNT_ATTR_NOEXEC);

	for (size_t i = 0; i < sizeof nodes / sizeof *nodes; i++)
		must(child,
		     sys4(__NR_mknodat, dev, nodes[i].name, S_IFCHR | 0666, makedev(nodes[i].major, nodes[i].minor)),
		     "make a device node", nodes[i].name);
	for (size_t i = 0; i < sizeof links / sizeof *links; i++)
		must(child, sys3(__NR_symlinkat, links[i][1], dev, links[i][0]), "make a link in /dev", links[i][0]);
	must(child, sys3(__NR_mkdirat, dev, "pts", 0755), "make a directory in /dev", "pts");
	must(child, sys3(__NR_mkdirat, dev, "shm", 0755), "make a directory in /dev", "shm");
	int target = open_target(child, mount);
	must(child, mount_attach(dev, target), "attach a mount", plan_string(child->plan, mount->target));
	sys1(__NR_close, target);

	int context = (int)must(child, sys2(__NR_fsopen, "devpts", FSOPEN_CLOEXEC), "open devpts", "");
	append_number(number, child->base + TTY_GROUP, 10);
	must(child, mount_option(context, "gid", number), "set the group of devpts", number);
	must(child, mount_option(context, "mode", "620"), "set the mode of devpts", "");
	must(child, mount_option(context, "ptmxmode", "666"), "set the mode of devpts", "");
	int pts = (int)must(child, mount_create(context, MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NOEXEC),
			    "make devpts", "");
	must(child, mount_attach_at(pts, dev, "pts"), "attach a mount", "/dev/pts");
	sys1(__NR_close, pts);

	int shm = new_tmpfs(child, mount->size, 01777, child->base, child->base, MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC);
	must(child, mount_attach_at(shm, dev, "shm"), "attach a mount", "/dev/shm");
	sys1(__NR_close, shm);
	must(child, mount_set(dev, MOUNT_ATTR_RDONLY, -1), "make /dev read-only", "");
	sys1(__NR_close, dev);
}

/* The lower layer is what the root has at the target, whatever was mounted there or above it meanwhile. */
static void mount_discard(struct child *child, const struct plan_mount *mount, uint32_t index)
{
	const char *path = plan_string(child->plan, mount->target);
	char space[NAME_SPACE];
	int alone = (int)must(child, mount_open_tree(child->root, ""), "clone a mount", "/");

	attach_to_stage(child, alone, space, "image", index);
	int below = (int)must(child, open_in_root(alone, path, O_DIRECTORY), "open a directory of the image", path);
	int lower = (int)must(child, mount_open_tree(below, ""), "clone a mount", path);
	int context = (int)must(child, sys2(__NR_fsopen, "overlay", FSOPEN_CLOEXEC), "open overlayfs", "");

	sys1(__NR_close, alone);
	sys1(__NR_close, below);
	attach_to_stage(child, lower, space, "discard", index);
	sys1(__NR_close, lower);
	must(child, mount_option(context, "lowerdir+", space), "add a layer", path);
	add_private_upper(child, context, mount->size, index, child->header->uid, child->header->gid);
	attach(child, create_overlay(child, context, attributes_of(mount), path), index);
}

static void mount_mask(struct child *child, const struct plan_mount *mount)
{
	const char *path = plan_string(child->plan, mount->target);
	struct stat state;
	long target = open_in_root(child->root, path, 0);

	if (target == -ENOENT)
		return;
	must(child, target, "open what is to be hidden", path);
	must(child, sys4(__NR_newfstatat, target, "", &state, AT_EMPTY_PATH_), "look at what is to be hidden", path);
	int empty =
	    (int)must(child, mount_open_tree(S_ISDIR(state.st_mode) ? child->empty_directory : child->empty_file, ""),
		      "clone an empty file", path);
	must(child, mount_set(empty, MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC, -1),
	     "make a mask read-only", path);
	must(child, mount_attach(empty, (int)target), "hide a file", path);
	sys1(__NR_close, empty);
	sys1(__NR_close, target);
}

void child_make_mounts(struct child *child)
{
	make_stage(child);
	for (uint32_t i = 0; i < child->header->mounts.count; i++) {
		const struct plan_mount *mount = &child->plan->mounts[i];
		int prepared = child->request->prepared->mounts[i];
		switch (mount->kind) {
		case MOUNT_ROOT:
			make_root(child, i);
			break;
		case MOUNT_BIND:
			if (prepared >= 0)
				attach(child, prepared, i);
			break;
		case MOUNT_TMPFS:
			mount_tmpfs(child, mount, i);
			break;
		case MOUNT_PROC:
			mount_proc(child, mount, i);
			break;
		case MOUNT_DEV:
			mount_dev(child, mount);
			break;
		case MOUNT_DISCARD:
			mount_discard(child, mount, i);
			break;
		case MOUNT_MASK:
			mount_mask(child, mount);
			break;
		}
	}
}
