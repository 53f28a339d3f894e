/* SPDX-License-Identifier: AGPL-3.0-or-later
 *
 * From a decoded plan to a running init. Two halves:
 *
 *   prepare (prepare_impl.c)  in the launcher: opens every source once, makes user namespaces and id-mapped detached
 *                             mounts. The result is descriptors only.
 *   launch  (launch_impl.c)   clone3, and in the child: attach the mounts, confine, execute init.
 *
 * Every failure names the step, the object and the errno; nothing is left behind then.
 */
#ifndef FTOS_LAUNCH_IMPL_H
#define FTOS_LAUNCH_IMPL_H

#include "plan_decode.h"

struct launch_failure {
	const char *step; /* what was tried, for people; static */
	char object[256]; /* the path or name concerned, "" for none; cut off when longer */
	int error;	  /* errno; 0: no failure */
};

struct prepared {
	const struct plan *plan;
	int user_namespaces[PLAN_IDMAPS_MAX];
	int mounts[PLAN_MOUNTS_MAX]; /* detached mounts of LAYER, BIND and of a kept ROOT; -1 for the others */
};

struct launch_request {
	const struct prepared *prepared;
	const char *stage; /* an empty directory of the host where the child attaches layers, in its own namespace */
	int init_fd;	   /* the init program */
	int control_fd;	   /* listening socket for init */
	int status_fd;	   /* where init writes the exit status */
	int lifeline_fd;   /* when its other end closes, the container ends */
	int cgroup_fd;	   /* leaf, or -1 */
};

/* 0, or -1 and `failure`. On success the caller owns the descriptors in `prepared`. */
int launch_prepare(const struct plan *plan, struct prepared *prepared, struct launch_failure *failure);
void launch_release(struct prepared *prepared);

/* The pid of init (a child of the caller) and its pidfd, or -1 and `failure`. */
int launch_start(const struct launch_request *request, int *pidfd, struct launch_failure *failure);

/* A read-only view of directories laid over one another, top first: a detached mount's descriptor, or -1 and `failure`. */
int launch_overlay_view(const char *const *layers, size_t count, struct launch_failure *failure);

void launch_fail(struct launch_failure *failure, const char *step, const char *object, long result);

#endif
