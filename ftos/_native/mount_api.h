/* SPDX-License-Identifier: AGPL-3.0-or-later
 *
 * The new mount API (Linux 5.2 and later) as raw calls, in the few forms that a launch needs.
 */
#ifndef FTOS_MOUNT_API_H
#define FTOS_MOUNT_API_H

#include <fcntl.h>
#include <linux/mount.h>
#include <linux/openat2.h>
#include <stdbool.h>

#include "sys.h"

#define AT_EMPTY_PATH_ 0x1000
#define MS_PRIVATE_ (1 << 18)

static inline long mount_open_tree(int directory, const char *path)
{
	return sys3(__NR_open_tree, directory, path,
		    OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | (*path ? 0 : AT_EMPTY_PATH_));
}

static inline long mount_set(int mount, uint64_t attributes, int user_namespace)
{
	struct mount_attr attr = {.attr_set = attributes, .propagation = MS_PRIVATE_};
	if (user_namespace >= 0) {
		attr.attr_set |= MOUNT_ATTR_IDMAP;
		attr.userns_fd = (uint64_t)user_namespace;
	}
	return sys5(__NR_mount_setattr, mount, "", AT_EMPTY_PATH_, &attr, sizeof attr);
}

static inline long mount_attach(int mount, int target)
{
	return sys5(__NR_move_mount, mount, "", target, "", MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH);
}

static inline long mount_attach_at(int mount, int directory, const char *path)
{
	return sys5(__NR_move_mount, mount, "", directory, path, MOVE_MOUNT_F_EMPTY_PATH);
}

static inline long mount_option(int context, const char *key, const char *value)
{
	return sys5(__NR_fsconfig, context, FSCONFIG_SET_STRING, key, value, 0);
}

/* Make the file system of a context and a detached mount of it; closes the context. */
static inline long mount_create(int context, uint64_t attributes)
{
	long result = sys5(__NR_fsconfig, context, FSCONFIG_CMD_CREATE, 0, 0, 0);
	if (result >= 0)
		result = sys3(__NR_fsmount, context, FSMOUNT_CLOEXEC, attributes);
	sys1(__NR_close, context);
	return result;
}

static inline long open_beneath(int directory, const char *path, uint64_t flags, uint64_t resolve)
{
	struct open_how how = {.flags = flags | O_PATH | O_CLOEXEC, .resolve = resolve | RESOLVE_NO_MAGICLINKS};
	return sys4(__NR_openat2, directory, path, &how, sizeof how);
}

static inline const char *without_slash(const char *path)
{
	while (*path == '/')
		path++;
	return path;
}

/* An absolute path as a process sees it whose root is `root`; symlinks are followed within. */
static inline long open_in_root(int root, const char *path, uint64_t flags)
{
	path = without_slash(path);
	return open_beneath(root, *path ? path : ".", flags, RESOLVE_IN_ROOT);
}

#endif
