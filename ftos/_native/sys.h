/* SPDX-License-Identifier: AGPL-3.0-or-later
 *
 * Raw system calls and the kernel constants that older headers lack.
 *
 * Everything between clone3 and exec, and all of init, runs on these alone: no errno, no locks, no libc state.
 * A call returns what the kernel returns: a result, or -errno.
 */
#ifndef FTOS_SYS_H
#define FTOS_SYS_H

#include <stddef.h>
#include <stdint.h>
#include <asm/unistd.h>

#if defined(__x86_64__)
static inline long sys6(long number, long a, long b, long c, long d, long e, long f)
{
	long result;
	register long r10 __asm__("r10") = d;
	register long r8 __asm__("r8") = e;
	register long r9 __asm__("r9") = f;
	__asm__ volatile("syscall"
			 : "=a"(result)
			 : "a"(number), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8), "r"(r9)
			 : "rcx", "r11", "memory");
	return result;
}
#elif defined(__aarch64__)
static inline long sys6(long number, long a, long b, long c, long d, long e, long f)
{
	register long x8 __asm__("x8") = number;
	register long x0 __asm__("x0") = a;
	register long x1 __asm__("x1") = b;
	register long x2 __asm__("x2") = c;
	register long x3 __asm__("x3") = d;
	register long x4 __asm__("x4") = e;
	register long x5 __asm__("x5") = f;
	__asm__ volatile("svc 0" : "+r"(x0) : "r"(x8), "r"(x1), "r"(x2), "r"(x3), "r"(x4), "r"(x5) : "memory");
	return x0;
}
#else
#error "FlyingTux runs on x86_64 and aarch64"
#endif

#define SYS_ARG(x) ((long)(x))
#define sys0(n) sys6(n, 0, 0, 0, 0, 0, 0)
#define sys1(n, a) sys6(n, SYS_ARG(a), 0, 0, 0, 0, 0)
#define sys2(n, a, b) sys6(n, SYS_ARG(a), SYS_ARG(b), 0, 0, 0, 0)
#define sys3(n, a, b, c) sys6(n, SYS_ARG(a), SYS_ARG(b), SYS_ARG(c), 0, 0, 0)
#define sys4(n, a, b, c, d) sys6(n, SYS_ARG(a), SYS_ARG(b), SYS_ARG(c), SYS_ARG(d), 0, 0)
#define sys5(n, a, b, c, d, e) sys6(n, SYS_ARG(a), SYS_ARG(b), SYS_ARG(c), SYS_ARG(d), SYS_ARG(e), 0)

/*
 * clone or clone3 with CLONE_VM onto a new stack: the child calls `function`, which never returns; the caller gets what the
 * kernel returns. `first` and `second` are the call's arguments, among them the stack; the others are 0.
 */
static inline long sys_clone_call(long number, long first, long second, void (*function)(void *), void *argument)
{
#if defined(__x86_64__)
	long pid;
	register long r10 __asm__("r10") = 0;
	register long r8 __asm__("r8") = 0;
	register void (*called)(void *) __asm__("r12") = function;
	register void *given __asm__("r13") = argument;
	__asm__ volatile("syscall\n\t"
			 "test %%rax, %%rax\n\t"
			 "jnz 1f\n\t"
			 "xor %%ebp, %%ebp\n\t"
			 "mov %%r13, %%rdi\n\t"
			 "call *%%r12\n\t"
			 "ud2\n"
			 "1:"
			 : "=a"(pid)
			 : "a"(number), "D"(first), "S"(second), "d"(0L), "r"(r10), "r"(r8), "r"(called), "r"(given)
			 : "rcx", "r11", "memory");
	return pid;
#else
	register long x8 __asm__("x8") = number;
	register long x0 __asm__("x0") = first;
	register long x1 __asm__("x1") = second;
	register long x2 __asm__("x2") = 0;
	register long x3 __asm__("x3") = 0;
	register long x4 __asm__("x4") = 0;
	register void (*called)(void *) __asm__("x19") = function;
	register void *given __asm__("x20") = argument;
	__asm__ volatile("svc 0\n\t"
			 "cbnz x0, 1f\n\t"
			 "mov x29, xzr\n\t"
			 "mov x0, x20\n\t"
			 "blr x19\n\t"
			 "brk #1\n"
			 "1:"
			 : "+r"(x0)
			 : "r"(x8), "r"(x1), "r"(x2), "r"(x3), "r"(x4), "r"(called), "r"(given)
			 : "x30", "memory", "cc");
	return x0;
#endif
}

/* Numbers from 424 on are the same on every architecture. */
#ifndef __NR_landlock_create_ruleset
#define __NR_landlock_create_ruleset 444
#define __NR_landlock_add_rule 445
#define __NR_landlock_restrict_self 446
#endif

#define PIDFD_GET_USER_NAMESPACE_ 0xff09 /* _IO(PIDFS_IOCTL_MAGIC, 9), Linux 6.11 */

/* landlock(7); the header of a 6.1 kernel ends at LANDLOCK_ACCESS_FS_REFER. */
struct landlock_ruleset {
	uint64_t handled_access_fs;
	uint64_t handled_access_net;
	uint64_t scoped; /* ABI 6, Linux 6.12 */
};
struct landlock_beneath {
	uint64_t allowed_access;
	int32_t parent_fd;
} __attribute__((packed));
#define LANDLOCK_HANDLED_FS 0xffffULL /* every file right of ABI 5 and later */
#define LANDLOCK_EXECUTE 5ULL	      /* EXECUTE and READ_FILE: execve opens for reading too */
#define LANDLOCK_SCOPE_ABSTRACT_UNIX 1ULL
#define LANDLOCK_PATH_BENEATH 1
#define LANDLOCK_VERSION_QUERY 1 /* LANDLOCK_CREATE_RULESET_VERSION */

#endif
