/* SPDX-License-Identifier: AGPL-3.0-or-later
 *
 * clone3 and the child's half of a launch.
 *
 * The user namespace is entered last. The mount namespace belongs to the initial user namespace, so nothing that runs
 * in the container could change a mount even with every capability it can have there.
 */
#define _GNU_SOURCE
#include "child.h"

#include <asm/ioctls.h>
#include <errno.h>
#include <linux/if.h>
#include <linux/keyctl.h>
#include <linux/prctl.h>
#include <linux/sched.h>
#include <linux/seccomp.h>
#include <signal.h>

#define STACK_SIZE 65536
#define HIGH_FD 64 /* the descriptors to keep are moved above this while the low ones are laid out */

/* --- the rest of what is set up ------------------------------------------------------------------------------------ */

static void reset_signals(struct child *child)
{
	struct {
		uint64_t handler, flags, restorer, mask;
	} standard = {0};
	/* CLONE_CLEAR_SIGHAND leaves ignored signals ignored, and Python ignores SIGPIPE. */
	for (int number = 1; number <= 64; number++)
		if (number != SIGKILL && number != SIGSTOP)
			must(child, sys4(__NR_rt_sigaction, number, &standard, 0, 8), "reset a signal", "");
}

static void set_oom_score(struct child *child)
{
	char number[16], *at = number;
	int score = child->header->oom_score_adj;
	int fd = (int)must(child, sys4(__NR_openat, AT_FDCWD, "/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC, 0),
			   "open the OOM score", "");
	if (score < 0)
		*at++ = '-';
	at = append_number(at, (uint64_t)(score < 0 ? -score : score), 10);
	must(child, sys3(__NR_write, fd, number, at - number), "set the OOM score", number);
	sys1(__NR_close, fd);
}

static void start_loopback(struct child *child)
{
	struct ifreq request = {.ifr_name = "lo"};
	int fd = (int)must(child, sys3(__NR_socket, 2 /* AF_INET */, 2 /* SOCK_DGRAM */, 0), "open a socket", "");
	request.ifr_flags = IFF_UP;
	must(child, sys3(__NR_ioctl, fd, 0x8914 /* SIOCSIFFLAGS */, &request), "start the loopback interface", "lo");
	sys1(__NR_close, fd);
}

static void enter_root(struct child *child)
{
	must(child, sys1(__NR_fchdir, child->root), "enter the root", "/");
	must(child, sys2(__NR_pivot_root, ".", "."), "change the root", "/");
	must(child, sys2(__NR_umount2, ".", 2 /* MNT_DETACH */), "leave the old root", "/");
	must(child, sys1(__NR_chdir, "/"), "enter the root", "/");
}

/* What a rule is for: the very mount that this launch has attached there, since an instance that runs already may move
 * what lies in a shared volume. Other paths lead through what no app can write. */
static long open_rule(struct child *child, const char *path)
{
	for (uint32_t i = 0; i < child->header->mounts.count; i++)
		if (child->plan->mounts[i].kind > MOUNT_ROOT &&
		    same_text(path, plan_string(child->plan, child->plan->mounts[i].target)) &&
		    child->plan->mounts[i].kind != MOUNT_DEV)
			return child->attached[i] >= 0 ? child->attached[i] : -ENOENT;
	return open_in_root(child->root, path, 0);
}

static void make_ruleset(struct child *child)
{
	struct landlock_ruleset attributes = {.handled_access_fs = LANDLOCK_HANDLED_FS};
	if (child->header->flags & PLAN_LANDLOCK_SCOPES)
		attributes.scoped = LANDLOCK_SCOPE_ABSTRACT_UNIX;
	child->ruleset = (int)must(child, sys3(__NR_landlock_create_ruleset, &attributes, sizeof attributes, 0),
				   "make a landlock ruleset", "");
	/* Init is of the host and has no name in the container; it is executed once, by its descriptor. */
	struct landlock_beneath program = {.allowed_access = LANDLOCK_EXECUTE, .parent_fd = child->request->init_fd};
	must(child, sys4(__NR_landlock_add_rule, child->ruleset, LANDLOCK_PATH_BENEATH, &program, 0),
	     "add a landlock rule", "init");
	for (uint32_t i = 0; i < child->header->landlock.count; i++) {
		const struct plan_landlock *rule = &child->plan->landlock[i];
		const char *path = plan_string(child->plan, rule->path);
		long fd = open_rule(child, path);
		struct landlock_beneath beneath = {.allowed_access = rule->access, .parent_fd = (int32_t)fd};
		if (fd == -ENOENT)
			continue; /* nothing there: nothing to allow */
		must(child, fd, "open what a landlock rule is for", path);
		must(child, sys4(__NR_landlock_add_rule, child->ruleset, LANDLOCK_PATH_BENEATH, &beneath, 0),
		     "add a landlock rule", path);
	}
}

/* A launcher without CAP_SYS_RESOURCE can't raise its own hard limits: then those stay, which are stricter. */
static void set_limits(struct child *child)
{
	for (uint32_t i = 0; i < child->header->rlimits.count; i++) {
		const struct plan_rlimit *limit = &child->plan->rlimits[i];
		uint64_t wanted[2] = {limit->soft, limit->hard}, now[2];
		long result = sys4(__NR_prlimit64, 0, limit->resource, wanted, 0);
		if (result == -EPERM) {
			must(child, sys4(__NR_prlimit64, 0, limit->resource, 0, now), "read a resource limit", "");
			wanted[0] = wanted[0] < now[1] ? wanted[0] : now[1];
			wanted[1] = wanted[1] < now[1] ? wanted[1] : now[1];
			result = sys4(__NR_prlimit64, 0, limit->resource, wanted, 0);
		}
		must(child, result, "set a resource limit", "");
	}
}

/* Into the user namespace, and there to the app's ids and to the capabilities of the plan: none for an app. */
static void drop_privileges(struct child *child)
{
	uint64_t kept = child->header->capabilities;
	struct __user_cap_data_struct data[2] = {
	    {.effective = (uint32_t)kept, .permitted = (uint32_t)kept},
	    {.effective = (uint32_t)(kept >> 32), .permitted = (uint32_t)(kept >> 32)},
	};
	uint32_t uid = child->header->uid, gid = child->header->gid;

	must(child, sys2(__NR_setns, USER_NAMESPACE_FD, CLONE_NEWUSER), "enter the user namespace", "");
	must(child, sys2(__NR_setgroups, 0, 0), "drop the groups", "");
	must(child, sys3(__NR_setresgid, gid, gid, gid), "change the group", "");
	must(child, sys3(__NR_setresuid, uid, uid, uid), "change the user", "");
	for (unsigned capability = 0; capability < 64; capability++)
		if (!(kept >> capability & 1) && sys5(__NR_prctl, PR_CAPBSET_DROP, capability, 0, 0, 0) == -EINVAL)
			break; /* past the last one that this kernel knows */
	set_capabilities(child, data, "drop the capabilities");
	long keyring = sys2(__NR_keyctl, KEYCTL_JOIN_SESSION_KEYRING, 0);
	must(child, keyring == -ENOSYS ? 0 : keyring, "make a session keyring",
	     ""); /* ENOSYS: a kernel without keyrings */
	must(child, sys5(__NR_prctl, PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), "set no_new_privs", "");
	must(child, sys2(__NR_landlock_restrict_self, RULESET_FD, 0), "enforce landlock", "");
}

/* 0, 1, 2 are /dev/null, 3 to 5 what init wants; behind them, until exec closes them, what the last steps need. */
static void lay_out_descriptors(struct child *child)
{
	const struct launch_request *request = child->request;
	int null = (int)must(child, sys4(__NR_openat, AT_FDCWD, "/dev/null", O_RDWR, 0), "open", "/dev/null");
	int kept[] = {null,
		      null,
		      null,
		      request->control_fd,
		      request->status_fd,
		      request->lifeline_fd,
		      request->init_fd,
		      request->prepared->user_namespaces[0],
		      child->ruleset};
	int count = (int)(sizeof kept / sizeof *kept);

	for (int i = 0; i < count; i++)
		kept[i] =
		    (int)must(child, sys3(__NR_fcntl, kept[i], F_DUPFD_CLOEXEC, HIGH_FD), "keep a descriptor", "");
	for (int i = 0; i < count; i++)
		must(child, sys3(__NR_dup3, kept[i], i, i >= PROGRAM_FD ? O_CLOEXEC : 0), "lay out the descriptors",
		     "");
	must(child, sys3(__NR_close_range, count, ~0U, 0), "close descriptors", "");
}

__attribute__((noreturn)) static void child_main(void *argument)
{
	struct child *child = argument;
	static const char *const arguments[] = {"ftos-init", NULL}, *const environment[] = {NULL};
	const struct plan_header *header = child->header;
	struct __user_cap_header_struct version = {.version = _LINUX_CAPABILITY_VERSION_3, .pid = 0};
	struct {
		uint16_t length;
		const struct plan_filter *filter;
	} program = {(uint16_t)header->seccomp.count, child->plan->seccomp};
	const char *hostname = plan_string(child->plan, header->hostname);
	size_t hostname_length = 0;
	uint64_t none = 0;

	while (hostname[hostname_length])
		hostname_length++;
	reset_signals(child);
	sys1(__NR_umask, 0);
	must(child, sys0(__NR_setsid), "start a session", "");
	must(child, sys2(__NR_capget, &version, child->capabilities), "read the capabilities", "");
	set_oom_score(child);
	child_make_mounts(child);
	enter_root(child);
	/* Here, since clone3 would take the launcher's cgroup as its root. */
	must(child, sys1(__NR_unshare, CLONE_NEWCGROUP), "make a cgroup namespace", "");
	must(child, sys2(__NR_sethostname, hostname, hostname_length), "set the host name", hostname);
	if (header->namespaces & CLONE_NEWNET)
		start_loopback(child);
	make_ruleset(child);
	lay_out_descriptors(child);
	set_limits(child);
	sys1(__NR_personality, 0);
	drop_privileges(child);
	sys1(__NR_umask, header->umask);
	must(child, sys4(__NR_rt_sigprocmask, SIG_SETMASK, &none, 0, 8), "unblock signals", "");
	must(child, sys3(__NR_seccomp, SECCOMP_SET_MODE_FILTER, 0, &program), "load the system call filter", "");
	child->finished = 1;
	long result = sys5(__NR_execveat, PROGRAM_FD, "", arguments, environment, AT_EMPTY_PATH_);
	child->finished = 0;
	fail(child, "execute init", "", result);
}

/* --- the launcher's side ------------------------------------------------------------------------------------------ */

int launch_start(const struct launch_request *request, int *pidfd, struct launch_failure *failure)
{
	const struct plan *plan = request->prepared->plan;
	struct child child = {
	    .request = request,
	    .plan = plan,
	    .header = plan->header,
	    .failure = failure,
	    .base = plan->idmaps[0].outside,
	};
	struct clone_args arguments = {
	    .flags = CLONE_VM | CLONE_VFORK | CLONE_PIDFD | CLONE_CLEAR_SIGHAND |
		     (plan->header->namespaces & ~(uint64_t)CLONE_NEWCGROUP),
	    .pidfd = (uint64_t)(uintptr_t)pidfd,
	    .exit_signal = SIGCHLD,
	    .stack_size = STACK_SIZE,
	};
	uint64_t all = ~0ULL, before;

	for (size_t i = 0; i < PLAN_MOUNTS_MAX; i++)
		child.attached[i] = -1;
	failure->error = 0;
	long stack = sys6(__NR_mmap, 0, STACK_SIZE, 3 /* PROT_READ | PROT_WRITE */,
			  0x22 /* MAP_PRIVATE | MAP_ANONYMOUS */, -1, 0);
	if (stack < 0)
		return launch_fail(failure, "allocate a stack", "", stack), -1;
	arguments.stack = (uint64_t)stack;
	if (request->cgroup_fd >= 0) {
		arguments.flags |= CLONE_INTO_CGROUP;
		arguments.cgroup = (uint64_t)request->cgroup_fd;
	}

	sys4(__NR_rt_sigprocmask, SIG_SETMASK, &all, &before, 8);
	long pid = sys_clone_call(__NR_clone3, SYS_ARG(&arguments), sizeof arguments, child_main, &child);
	sys4(__NR_rt_sigprocmask, SIG_SETMASK, &before, 0, 8);
	sys2(__NR_munmap, stack, STACK_SIZE);

	if (pid < 0)
		return launch_fail(failure, "clone3", "", pid), -1;
	if (failure->error || !child.finished) {
		while (sys4(__NR_wait4, pid, 0, 0, 0) == -EINTR)
			;
		sys1(__NR_close, *pidfd);
		if (!failure->error)
			launch_fail(failure, "finish the launch: the process was killed", "", -EINTR);
		return -1;
	}
	return (int)pid;
}
