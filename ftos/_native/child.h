/* SPDX-License-Identifier: AGPL-3.0-or-later
 *
 * What the child of a launch shares between its two files: launch_impl.c (confinement) and mounts_impl.c (its mounts).
 *
 * The child shares the launcher's memory until it executes init (CLONE_VM with CLONE_VFORK, on a stack of its own), so
 * no page table is copied; therefore only raw system calls here: no errno, no heap, no locks, no libc state.
 */
#ifndef FTOS_CHILD_H
#define FTOS_CHILD_H

#include <linux/capability.h>

#include "control.h"
#include "launch_impl.h"
#include "mount_api.h"

enum kept_fd { /* behind init's (control.h), until exec */
	PROGRAM_FD = INIT_LIFELINE_FD + 1,
	USER_NAMESPACE_FD,
	RULESET_FD,
};

struct child {
	const struct launch_request *request;
	const struct plan *plan;
	const struct plan_header *header;
	struct launch_failure *failure;
	uint32_t base; /* kernel id of 0 inside, of users and groups */
	int root;      /* the new root, attached below the stage */
	int empty_file, empty_directory;
	int ruleset;		       /* landlock */
	int attached[PLAN_MOUNTS_MAX]; /* the mount at each target, -1: none; landlock rules are made from these */
	struct __user_cap_data_struct capabilities[2];
	volatile int finished; /* everything is done but exec */
};

__attribute__((noreturn)) static inline void fail(struct child *child, const char *step, const char *object,
						  long result)
{
	struct launch_failure *failure = child->failure;
	size_t at = 0;
	for (; object[at] && at < sizeof failure->object - 1; at++)
		failure->object[at] = object[at];
	failure->object[at] = 0;
	failure->step = step;
	failure->error = (int)-result;
	for (;;)
		sys1(__NR_exit_group, 125);
}

static inline long must(struct child *child, long result, const char *step, const char *object)
{
	if (result < 0)
		fail(child, step, object, result);
	return result;
}

static inline char *append(char *to, const char *text)
{
	while (*text)
		*to++ = *text++;
	*to = 0;
	return to;
}

static inline bool same_text(const char *one, const char *other)
{
	while (*one && *one == *other)
		one++, other++;
	return *one == *other;
}

static inline char *append_number(char *to, uint64_t number, unsigned base)
{
	char digits[24];
	int count = 0;
	do
		digits[count++] = (char)('0' + number % base);
	while (number /= base);
	while (count)
		*to++ = digits[--count];
	*to = 0;
	return to;
}

/* "<prefix><number>": a name on the stage, which is the working directory until the root is entered. */
static inline const char *stage_name(char *space, const char *prefix, uint32_t number)
{
	append_number(append(space, prefix), number, 10);
	return space;
}

static inline void become_file_user(struct child *child, uint32_t uid, uint32_t gid)
{
	sys1(__NR_setfsgid, child->base + gid);
	sys1(__NR_setfsuid, child->base + uid);
}

static inline void become_root_again(void)
{
	sys1(__NR_setfsuid, 0); /* the kernel gives the file capabilities back with it (capabilities(7)) */
	sys1(__NR_setfsgid, 0);
}

static inline void set_capabilities(struct child *child, const struct __user_cap_data_struct *data, const char *step)
{
	struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3, .pid = 0};
	must(child, sys2(__NR_capset, &header, data), step, "");
}

/* All mounts of the plan, in order, in the child's own mount namespace; `child->root` is the new root afterwards. */
void child_make_mounts(struct child *child);

#endif
