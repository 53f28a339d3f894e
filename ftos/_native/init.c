/* SPDX-License-Identifier: AGPL-3.0-or-later
 *
 * Pid 1 of every container: static, without libc, without heap.
 *
 * It starts inside the finished container, already confined as the app will be, and waits on its control socket. It
 * starts the app (once) and further processes (`ftos exec`) as its own children, so all are confined alike and nothing
 * has to enter a running container. It reaps, forwards signals to the app, and writes the app's exit status to the
 * descriptor it was given. When the app ends, or the lifeline breaks, it ends, and the kernel ends the rest.
 *
 * The app runs under the same user id: init is not dumpable, so its memory and descriptors are out of reach
 * (ptrace(2), "Ptrace access mode checking"), and as pid 1 it gets no signal from inside that it did not ask for.
 */
#include <asm/errno.h>
#include <asm/ioctls.h>
#include <asm/poll.h>
#include <asm/signal.h>
#include <linux/fcntl.h>
#include <linux/prctl.h>
#include <linux/sched.h>
#include <linux/wait.h>
#include <stdbool.h>

#include "control.h"
#include "sys.h"

#define CONNECTIONS 256 /* more clients wait until one has ended */
#define DEV_PTMX "/dev/ptmx"
#define TIOCGPTPEER_ 0x5441
#define SOCK_CLOEXEC_ 02000000
#define SCM_RIGHTS_ 1
#define SOL_SOCKET_ 1
#define MSG_NOSIGNAL_ 0x4000
#define MSG_CMSG_CLOEXEC_ 0x40000000
#define MSG_TRUNC_ 0x20
#define MSG_CTRUNC_ 0x8
#define PATH_SPACE 4096
#define RIGHTS_HEADER 16 /* bytes of a cmsghdr on 64-bit */

struct vector {
	void *base;
	size_t length;
};
struct message {
	void *name;
	uint32_t name_length;
	struct vector *vectors;
	size_t vector_count;
	void *control;
	size_t control_length;
	uint32_t flags;
};
struct descriptors { /* a cmsghdr with room for three */
	size_t length;
	int32_t level, type;
	int32_t fds[4];
};

static struct {
	int fd; /* -1: free */
	int pid;
} connections[CONNECTIONS];
static int app; /* pid of the app, 0 before START */

static union {
	struct control_request request;
	char bytes[sizeof(struct control_request) + CONTROL_PAYLOAD_MAX];
} received;
static const char *strings[2 * CONTROL_STRINGS_MAX + 4];

/* The compiler may call these. */
void *memset(void *to, int byte, size_t size);
void *memset(void *to, int byte, size_t size)
{
	for (size_t i = 0; i < size; i++)
		((volatile char *)to)[i] = (char)byte;
	return to;
}

void *memcpy(void *restrict to, const void *restrict from, size_t size);
void *memcpy(void *restrict to, const void *restrict from, size_t size)
{
	for (size_t i = 0; i < size; i++)
		((volatile char *)to)[i] = ((const char *)from)[i];
	return to;
}

static void answer(int fd, uint32_t reply, int32_t value, int attached)
{
	struct control_answer text = {.reply = reply, .value = value};
	struct vector vector = {&text, sizeof text};
	struct descriptors rights = {
	    .length = RIGHTS_HEADER + sizeof attached, .level = SOL_SOCKET_, .type = SCM_RIGHTS_, .fds = {attached}};
	struct message message = {.vectors = &vector, .vector_count = 1};
	if (attached >= 0) {
		message.control = &rights;
		message.control_length = RIGHTS_HEADER + 8; /* CMSG_SPACE rounds up to 8 */
	}
	sys3(__NR_sendmsg, fd, &message, MSG_NOSIGNAL_); /* a client that went away has no use for it */
}

static void write_status(int status)
{
	char text[16] = "exit ";
	int at = 5;
	if (status >= 100)
		text[at++] = (char)('0' + status / 100);
	if (status >= 10)
		text[at++] = (char)('0' + status / 10 % 10);
	text[at++] = (char)('0' + status % 10);
	text[at++] = '\n';
	sys3(__NR_write, INIT_STATUS_FD, text, at);
}

__attribute__((noreturn)) static void finish(int status)
{
	for (;;)
		sys1(__NR_exit_group, status);
}

/* --- starting a process -------------------------------------------------------------------------------------------- */

struct start {
	const char *directory;
	const char *const *arguments;
	const char *const *environment;
	int streams[3]; /* what becomes 0, 1 and 2 */
	int terminal;	/* the pty's slave, or -1 */
	int error;	/* out: errno of the failing step */
};

/* Try the program as each entry of PATH says, as execvpe(3) does. */
static long execute(const struct start *start)
{
	const char *name = start->arguments[0], *path = "/usr/local/bin:/usr/bin:/bin";
	char program[PATH_SPACE];
	long result = -ENOENT;

	for (const char *c = name; *c; c++)
		if (*c == '/')
			return sys3(__NR_execve, name, start->arguments, start->environment);
	for (const char *const *e = start->environment; *e; e++)
		if ((*e)[0] == 'P' && (*e)[1] == 'A' && (*e)[2] == 'T' && (*e)[3] == 'H' && (*e)[4] == '=')
			path = *e + 5;
	while (*name) {
		size_t at = 0;
		for (; *path && *path != ':' && at < PATH_SPACE - 2; path++)
			program[at++] = *path;
		program[at++] = '/';
		for (const char *c = name; *c && at < PATH_SPACE - 1; c++)
			program[at++] = *c;
		program[at] = 0;
		long tried = sys3(__NR_execve, program, start->arguments, start->environment);
		if (tried != -ENOENT && tried != -ENOTDIR)
			result = tried;
		if (tried != -ENOENT && tried != -ENOTDIR && tried != -EACCES)
			return tried;
		if (!*path++)
			break;
	}
	return result;
}

/* Runs in the new process, which shares memory with init until it executes the program. */
__attribute__((noreturn)) static void become(void *argument)
{
	struct start *start = argument;
	uint64_t none = 0;
	long result;

	sys0(__NR_setsid);
	if (start->terminal >= 0)
		sys3(__NR_ioctl, start->terminal, TIOCSCTTY, 0);
	/* Above the fixed descriptors first: a stream may lie where another one has to go. */
	for (int i = 0; i < 3; i++)
		start->streams[i] = (int)sys3(__NR_fcntl, start->streams[i], F_DUPFD, 16);
	for (int i = 0; i < 3; i++)
		sys3(__NR_dup3, start->streams[i], i, 0);
	sys3(__NR_close_range, 3, ~0U, 0);
	sys4(__NR_rt_sigprocmask, SIG_SETMASK, &none, 0, 8);
	result = sys1(__NR_chdir, start->directory);
	if (result >= 0)
		result = execute(start);
	start->error = (int)-result;
	for (;;)
		sys1(__NR_exit_group, 127);
}

/* vfork without its libc: the child runs on a stack of its own in shared memory; the caller waits until it executes. */
static long spawn(struct start *start)
{
	static char stack[16384] __attribute__((aligned(16)));
	unsigned long flags = CLONE_VM | CLONE_VFORK | SIGCHLD;
	/* clone, not clone3: the filter, which is already in force, answers ENOSYS to clone3. */
	return sys_clone_call(__NR_clone, SYS_ARG(flags), SYS_ARG(stack + sizeof stack), become, start);
}

/* Split the payload into directory, arguments and environment. */
static bool unpack(const struct control_request *request, size_t size, struct start *start)
{
	char *at = received.bytes + sizeof *request, *end = received.bytes + size;
	size_t count = 0, wanted = 1 + (size_t)request->arguments + request->environment;

	if (!request->arguments || request->arguments > CONTROL_STRINGS_MAX ||
	    request->environment > CONTROL_STRINGS_MAX || request->length != size - sizeof *request || at == end ||
	    end[-1])
		return false;
	for (size_t i = 0; i < wanted; i++) {
		if (at >= end)
			return false;
		if (i == 0)
			start->directory = at;
		else
			strings[count++] = at;
		if (i == request->arguments)
			strings[count++] = NULL;
		while (*at++)
			;
	}
	strings[count] = NULL;
	start->arguments = strings;
	start->environment = strings + request->arguments + 1;
	return at == end;
}

/* A new pty of the container's own devpts; the master's descriptor, or -errno. */
static int open_terminal(const struct control_request *request, int *slave)
{
	uint16_t size[4] = {request->rows, request->columns, 0, 0};
	int unlocked = 0;
	int master = (int)sys4(__NR_openat, AT_FDCWD, DEV_PTMX, O_RDWR | O_NOCTTY | O_CLOEXEC, 0);
	if (master < 0)
		return master;
	sys3(__NR_ioctl, master, TIOCSPTLCK, &unlocked);
	sys3(__NR_ioctl, master, TIOCSWINSZ, size);
	*slave = (int)sys3(__NR_ioctl, master, TIOCGPTPEER_, O_RDWR | O_NOCTTY | O_CLOEXEC);
	if (*slave >= 0)
		return master;
	sys1(__NR_close, master);
	return *slave;
}

static void start_process(int slot, size_t size, const int *fds, int fd_count)
{
	const struct control_request *request = &received.request;
	struct start start = {.terminal = -1, .error = 0};
	int connection = connections[slot].fd, master = -1, used = 0;
	bool is_app = request->kind == CONTROL_START;
	long pid = -EINVAL;

	if (connections[slot].pid || is_app == (app != 0) || request->terminal > 7 || !unpack(request, size, &start))
		goto failed;
	if (request->terminal && (master = open_terminal(request, &start.terminal)) < 0) {
		pid = master;
		goto failed;
	}
	for (int i = 0; i < 3; i++)
		if (request->terminal & (1u << i))
			start.streams[i] = start.terminal;
		else if (used < fd_count)
			start.streams[i] = fds[used++];
		else
			goto failed;
	pid = spawn(&start);
	if (pid > 0 && start.error)
		pid = -start.error; /* its end is reaped like that of any orphan */
failed:
	if (start.terminal >= 0)
		sys1(__NR_close, start.terminal);
	if (pid > 0) {
		connections[slot].pid = (int)pid;
		if (is_app)
			app = (int)pid;
		answer(connection, REPLY_STARTED, (int32_t)pid, master);
	} else {
		answer(connection, REPLY_FAILED, (int32_t)-pid, -1);
	}
	if (master >= 0)
		sys1(__NR_close, master);
	if (pid <= 0 && is_app && !app) {
		int status = pid == -ENOENT || pid == -ENOTDIR ? 127 : 126;
		write_status(status);
		finish(status);
	}
}

/* --- the loop ------------------------------------------------------------------------------------------------------ */

static void receive(int slot)
{
	struct descriptors rights = {0};
	struct vector vector = {received.bytes, sizeof received.bytes};
	struct message message = {
	    .vectors = &vector, .vector_count = 1, .control = &rights, .control_length = sizeof rights};
	int fds[4] = {-1, -1, -1, -1}, count = 0;
	long size = sys3(__NR_recvmsg, connections[slot].fd, &message, MSG_CMSG_CLOEXEC_);

	if (size <= 0) {
		sys1(__NR_close, connections[slot].fd);
		connections[slot].fd = -1;
		connections[slot].pid = 0;
		return;
	}
	if (message.control_length > RIGHTS_HEADER && rights.level == SOL_SOCKET_ && rights.type == SCM_RIGHTS_)
		for (count = 0; count < (int)((rights.length - RIGHTS_HEADER) / sizeof fds[0]) && count < 4; count++)
			fds[count] = rights.fds[count];
	if ((size_t)size < sizeof(struct control_request) || message.flags & (MSG_TRUNC_ | MSG_CTRUNC_))
		answer(connections[slot].fd, REPLY_FAILED, E2BIG, -1);
	else if (received.request.kind == CONTROL_START || received.request.kind == CONTROL_EXEC)
		start_process(slot, (size_t)size, fds, count);
	else if (received.request.kind == CONTROL_SIGNAL && connections[slot].pid && received.request.signal < 65)
		sys2(__NR_kill, connections[slot].pid, received.request.signal);
	for (int i = 0; i < count; i++)
		sys1(__NR_close, fds[i]);
}

static int free_slot(void)
{
	for (int i = 0; i < CONNECTIONS; i++)
		if (connections[i].fd < 0)
			return i;
	return -1;
}

static void accept_client(int slot)
{
	connections[slot].fd = (int)sys4(__NR_accept4, INIT_CONTROL_FD, 0, 0, SOCK_CLOEXEC_);
	connections[slot].pid = 0;
}

static void reap(void)
{
	int status, ended = -1;
	long pid;

	while ((pid = sys4(__NR_wait4, -1, &status, WNOHANG, 0)) > 0) {
		int code = status & 0x7f ? 128 + (status & 0x7f) : status >> 8 & 0xff;
		for (int i = 0; i < CONNECTIONS; i++)
			if (connections[i].fd >= 0 && connections[i].pid == pid) {
				answer(connections[i].fd, REPLY_EXITED, code, -1);
				connections[i].pid = 0;
			}
		if (pid == app)
			ended = code;
	}
	if (ended >= 0) {
		write_status(ended);
		finish(ended);
	}
}

static void take_signals(int fd)
{
	uint32_t information[32]; /* struct signalfd_siginfo is 128 bytes; the first word is the number */
	while (sys3(__NR_read, fd, information, sizeof information) == sizeof information)
		if (information[0] != SIGCHLD && app)
			sys2(__NR_kill, app, information[0]);
	reap();
}

/* arguments of the program: none; descriptors: see control.h */
__attribute__((noreturn, used)) static void run(void)
{
	uint64_t all = ~0ULL;
	struct pollfd polled[3 + CONNECTIONS];

	sys5(__NR_prctl, PR_SET_DUMPABLE, 0, 0, 0, 0);
	sys4(__NR_rt_sigprocmask, SIG_BLOCK, &all, 0, 8);
	int signals = (int)sys4(__NR_signalfd4, -1, &all, 8, O_NONBLOCK | O_CLOEXEC);
	if (signals < 0)
		finish(126);
	for (int fd = INIT_CONTROL_FD; fd <= INIT_LIFELINE_FD; fd++)
		sys3(__NR_fcntl, fd, F_SETFD, FD_CLOEXEC);
	for (int i = 0; i < CONNECTIONS; i++)
		connections[i].fd = -1;

	for (;;) {
		polled[0] = (struct pollfd){.fd = signals, .events = POLLIN};
		int slot = free_slot();
		polled[1] = (struct pollfd){.fd = slot < 0 ? -1 : INIT_CONTROL_FD, .events = POLLIN};
		polled[2] = (struct pollfd){.fd = INIT_LIFELINE_FD, .events = 0};
		for (int i = 0; i < CONNECTIONS; i++)
			polled[3 + i] = (struct pollfd){.fd = connections[i].fd, .events = POLLIN};
		if (sys5(__NR_ppoll, polled, 3 + CONNECTIONS, 0, 0, 0) < 0)
			continue;
		if (polled[2].revents & (POLLHUP | POLLERR))
			finish(137);
		for (int i = 0; i < CONNECTIONS; i++)
			if (polled[3 + i].revents && connections[i].fd >= 0)
				receive(i);
		if (polled[1].revents & POLLIN)
			accept_client(slot);
		if (polled[0].revents & POLLIN)
			take_signals(signals);
	}
}

#if defined(__x86_64__)
__asm__(".globl _start\n_start:\n\txor %ebp, %ebp\n\tand $-16, %rsp\n\tcall run\n");
#else
__asm__(".globl _start\n_start:\n\tmov x29, #0\n\tmov x30, #0\n\tbl run\n");
#endif
