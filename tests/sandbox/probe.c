/* SPDX-License-Identifier: AGPL-3.0-or-later
 *
 * What tests run inside a sandbox and, as a control, outside: a static program, so that it runs wherever it is shown.
 *
 *   probe table      stdin: lines `GATE NUMBER ARGUMENT...` (GATE: native, compat or x32; numbers in C's notation)
 *                    stdout: for each a line, the errno (0: none), or `signal N` when the call killed the process
 *   probe terminal   requests on a pty of its own that would type into it; lines `NAME ERRNO BYTES-THAT-ARRIVED`
 *   probe benign     what every program may need; lines `NAME ok` or `NAME ERRNO`
 *
 * Each call of a table is made in a process of its own, since some change the process that makes them.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/sched.h>
#include <poll.h>
#include <pthread.h>
#include <pty.h>
#include <sched.h>
#include <semaphore.h>
#include <signal.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/file.h>
#include <sys/inotify.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/msg.h>
#include <sys/prctl.h>
#include <sys/sem.h>
#include <sys/shm.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/timerfd.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

#define X32 0x40000000L

static long raw(long number, const unsigned long *a)
{
	return syscall(number, a[0], a[1], a[2], a[3], a[4], a[5]);
}

static long compat(long number, const unsigned long *a)
{
#if defined(__x86_64__)
	long result;
	__asm__ volatile("int $0x80"
			 : "=a"(result)
			 : "a"(number), "b"(a[0]), "c"(a[1]), "d"(a[2]), "S"(a[3]), "D"(a[4])
			 : "r8", "r9", "r10", "r11", "memory");
	if ((int)result < 0 && (int)result > -4096) {
		errno = -(int)result;
		return -1;
	}
	return result;
#else
	(void)number, (void)a;
	errno = ENOSYS;
	return -1;
#endif
}

static int table(void)
{
	char line[512];

	while (fgets(line, sizeof line, stdin)) {
		unsigned long arguments[6] = {0};
		char *word = strtok(line, " \n"), gate = *word;
		long number = strtol(strtok(NULL, " \n"), NULL, 0);
		for (int i = 0; i < 6 && (word = strtok(NULL, " \n")); i++)
			arguments[i] = strtoul(word, NULL, 0);
		int results[2], status, found = -1;
		if (pipe(results) < 0)
			return 1;
		fflush(stdout);
		pid_t parent = getpid(), pid = fork();
		if (pid == 0) {
			prctl(PR_SET_PDEATHSIG, SIGKILL);
			errno = 0;
			long result = gate == 'n'   ? raw(number, arguments)
				      : gate == 'x' ? raw(X32 | number, arguments)
						    : compat(number, arguments);
			found = result == -1 ? errno : 0;
			if (getppid() == parent) /* not the child of a call that forks */
				if (write(results[1], &found, sizeof found) < 0)
					_exit(1);
			_exit(0);
		}
		close(results[1]);
		long size = read(results[0], &found, sizeof found);
		close(results[0]);
		waitpid(pid, &status, 0);
		if (size == sizeof found)
			printf("%d\n", found);
		else
			printf("signal %d\n", WIFSIGNALED(status) ? WTERMSIG(status) : 0);
	}
	return 0;
}

static int terminal(void)
{
	static const struct {
		const char *name;
		unsigned long request;
	} requests[] = {
	    {"TIOCSTI", 0x5412},   {"TIOCSTI-high", 0x12300005412},   {"TIOCSTI-all-high", 0xffffffff00005412},
	    {"TIOCLINUX", 0x541c}, {"TIOCLINUX-high", 0x1230000541c}, {"TIOCLINUX-all-high", 0xffffffff0000541c},
	};
	int master, slave, arrived;

	setsid();
	if (openpty(&master, &slave, NULL, NULL, NULL) < 0 || ioctl(slave, TIOCSCTTY, 0) < 0)
		return 1;
	struct termios modes;
	tcgetattr(slave, &modes);
	cfmakeraw(&modes);
	tcsetattr(slave, TCSANOW, &modes);
	for (size_t i = 0; i < sizeof requests / sizeof *requests; i++) {
		char typed = requests[i].name[4] == 'S' ? 'x' : 3; /* 3: paste what is selected */
		errno = 0;
		syscall(SYS_ioctl, slave, requests[i].request, &typed);
		int failed = errno;
		ioctl(slave, FIONREAD, &arrived);
		tcflush(slave, TCIFLUSH);
		printf("%s %d %d\n", requests[i].name, failed, arrived);
	}
	return 0;
}

/* --- what must work ------------------------------------------------------------------------------------------------ */

static void *thread_body(void *argument)
{
	return argument;
}

static int threads(void)
{
	pthread_t thread;
	void *result = NULL;
	int failed = pthread_create(&thread, NULL, thread_body, "argument");
	if (failed)
		return failed;
	pthread_join(thread, &result);
	return result ? 0 : EIO;
}

static int clone3_falls_back(void) /* libc's own condition for falling back to clone */
{
	struct clone_args arguments = {.exit_signal = SIGCHLD};
	long pid = syscall(SYS_clone3, &arguments, sizeof arguments);
	if (pid == 0)
		_exit(0);
	if (pid > 0)
		waitpid((pid_t)pid, NULL, 0);
	return pid < 0 && errno != ENOSYS ? errno : 0;
}

static int forks(void)
{
	int status = 1;
	pid_t pid = fork();
	if (pid == 0)
		_exit(5);
	if (pid < 0)
		return errno;
	waitpid(pid, &status, 0);
	return WEXITSTATUS(status) == 5 ? 0 : EIO;
}

static int memory(void)
{
	char *page = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (page == MAP_FAILED)
		return errno;
	page[0] = 1;
	if (mprotect(page, 8192, PROT_READ | PROT_EXEC) < 0 || madvise(page, 8192, MADV_DONTNEED) < 0)
		return errno;
	page = mremap(page, 8192, 16384, MREMAP_MAYMOVE);
	return page == MAP_FAILED || munmap(page, 16384) < 0 ? errno : 0;
}

static int memory_file(void)
{
	int fd = memfd_create("probe", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	if (fd < 0 || ftruncate(fd, 4096) < 0 || fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK) < 0)
		return errno;
	return mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0) == MAP_FAILED ? errno : 0;
}

static int epolls(void)
{
	int fd = epoll_create1(EPOLL_CLOEXEC), event = eventfd(1, EFD_CLOEXEC);
	struct epoll_event wanted = {.events = EPOLLIN}, got;
	if (fd < 0 || event < 0 || epoll_ctl(fd, EPOLL_CTL_ADD, event, &wanted) < 0)
		return errno;
	return epoll_wait(fd, &got, 1, 1000) == 1 ? 0 : EIO;
}

static int statxs(void)
{
	struct statx state;
	return statx(AT_FDCWD, "/", 0, STATX_BASIC_STATS, &state) < 0 ? errno : 0;
}

static int rseqs(void) /* libc has registered its own: a second one is refused by the kernel, not by a filter */
{
	syscall(SYS_rseq, NULL, 0, 0, 0);
	return errno == EINVAL || errno == EPERM ? 0 : errno;
}

static int signalfds(void)
{
	sigset_t set;
	struct signalfd_siginfo got;
	sigemptyset(&set);
	sigaddset(&set, SIGUSR1);
	sigprocmask(SIG_BLOCK, &set, NULL);
	int fd = signalfd(-1, &set, SFD_CLOEXEC);
	if (fd < 0 || kill(getpid(), SIGUSR1) < 0)
		return errno;
	return read(fd, &got, sizeof got) == sizeof got && got.ssi_signo == SIGUSR1 ? 0 : EIO;
}

static int inotifies(void)
{
	int fd = inotify_init1(IN_CLOEXEC);
	return fd < 0 || inotify_add_watch(fd, "/", IN_CREATE) < 0 ? errno : 0;
}

static int timers(void)
{
	struct itimerspec soon = {.it_value = {.tv_nsec = 1000000}};
	uint64_t count = 0;
	int fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC);
	if (fd < 0 || timerfd_settime(fd, 0, &soon, NULL) < 0 || read(fd, &count, sizeof count) < 0)
		return errno;
	return count ? 0 : EIO;
}

static int unix_sockets(void)
{
	struct sockaddr_un name = {.sun_family = AF_UNIX, .sun_path = "\0probe"};
	int server = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0),
	    client = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	socklen_t size = offsetof(struct sockaddr_un, sun_path) + 6;
	if (server < 0 || bind(server, (void *)&name, size) < 0 || listen(server, 1) < 0 ||
	    connect(client, (void *)&name, size) < 0)
		return errno;
	return 0;
}

static int internet_sockets(void)
{
	int kinds[][2] = {
	    {AF_INET, SOCK_STREAM}, {AF_INET, SOCK_DGRAM}, {AF_INET6, SOCK_STREAM}, {AF_NETLINK, SOCK_RAW}};
	for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++)
		if (socket(kinds[i][0], kinds[i][1] | SOCK_CLOEXEC, 0) < 0 && errno != EAFNOSUPPORT)
			return errno;
	return 0;
}

static int system_v(void)
{
	int memory_id = shmget(IPC_PRIVATE, 4096, 0600), queue = msgget(IPC_PRIVATE, 0600),
	    semaphores = semget(IPC_PRIVATE, 1, 0600);
	if (memory_id < 0 || queue < 0 || semaphores < 0)
		return errno;
	shmctl(memory_id, IPC_RMID, NULL);
	msgctl(queue, IPC_RMID, NULL);
	semctl(semaphores, 0, IPC_RMID);
	return 0;
}

static int posix_shared_memory(void)
{
	sem_t *semaphore = sem_open("/probe", O_CREAT, 0600, 1);
	if (semaphore == SEM_FAILED || sem_wait(semaphore) < 0 || sem_unlink("/probe") < 0)
		return errno;
	int fd = shm_open("/probe", O_CREAT | O_RDWR, 0600);
	return fd < 0 || shm_unlink("/probe") < 0 ? errno : 0;
}

static int terminals(void)
{
	int master, slave;
	return openpty(&master, &slave, NULL, NULL, NULL) < 0 ? errno : 0;
}

static int landlocks(void)
{
	struct {
		uint64_t files, network, scoped;
	} attributes = {.files = 2}; /* LANDLOCK_ACCESS_FS_WRITE_FILE */
	int fd = (int)syscall(444, &attributes, sizeof attributes, 0);
	if (fd < 0 || prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 || syscall(446, fd, 0) < 0)
		return errno;
	return open("/dev/null", O_WRONLY) < 0 && errno == EACCES ? 0 : EIO;
}

static int filters(void)
{
	struct {
		uint16_t code;
		uint8_t jt, jf;
		uint32_t k;
	} allow = {6, 0, 0, 0x7fff0000};
	struct {
		uint16_t length;
		void *filter;
	} program = {1, &allow};
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
		return errno;
	return syscall(SYS_seccomp, 1, 0, &program) < 0 ? errno : 0;
}

static int pidfds(void)
{
	int fd = (int)syscall(434, getpid(), 0);
	return fd < 0 || syscall(424, fd, 0, NULL, 0) < 0 ? errno : 0;
}

static int random_bytes(void)
{
	char bytes[16];
	return syscall(SYS_getrandom, bytes, sizeof bytes, 0) == sizeof bytes ? 0 : errno;
}

static int files(void)
{
	int fd = open("/tmp/probe-file", O_CREAT | O_RDWR | O_EXCL, 0600);
	if (fd < 0 || fallocate(fd, 0, 0, 4096) < 0 || fchmod(fd, 0644) < 0 ||
	    rename("/tmp/probe-file", "/tmp/probe-renamed") < 0 || symlink("probe-renamed", "/tmp/probe-link") < 0 ||
	    mkdir("/tmp/probe-directory", 0755) < 0 || mkfifo("/tmp/probe-fifo", 0600) < 0 || flock(fd, LOCK_EX) < 0)
		return errno;
	unlink("/tmp/probe-renamed"), unlink("/tmp/probe-link"), unlink("/tmp/probe-fifo"),
	    rmdir("/tmp/probe-directory");
	return 0;
}

static int benign(void)
{
	static const struct {
		const char *name;
		int (*check)(void);
	} checks[] = {
	    {"threads", threads},
	    {"clone3", clone3_falls_back},
	    {"fork", forks},
	    {"memory", memory},
	    {"memfd", memory_file},
	    {"epoll", epolls},
	    {"statx", statxs},
	    {"rseq", rseqs},
	    {"signalfd", signalfds},
	    {"inotify", inotifies},
	    {"timerfd", timers},
	    {"unix-sockets", unix_sockets},
	    {"internet-sockets", internet_sockets},
	    {"system-v", system_v},
	    {"posix-shared-memory", posix_shared_memory},
	    {"terminals", terminals},
	    {"landlock", landlocks},
	    {"seccomp", filters},
	    {"pidfd", pidfds},
	    {"getrandom", random_bytes},
	    {"files", files},
	};
	for (size_t i = 0; i < sizeof checks / sizeof *checks; i++) {
		int status;
		pid_t pid = fork();
		if (pid == 0)
			_exit(checks[i].check());
		waitpid(pid, &status, 0);
		int failed = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
		printf(failed ? "%s %d\n" : "%s ok\n", checks[i].name, failed);
		fflush(stdout);
	}
	return 0;
}

int main(int count, char **arguments)
{
	const char *mode = count == 2 ? arguments[1] : "";
	if (!strcmp(mode, "table"))
		return table();
	if (!strcmp(mode, "terminal"))
		return terminal();
	if (!strcmp(mode, "benign"))
		return benign();
	fprintf(stderr, "usage: probe table|terminal|benign\n");
	return 2;
}
