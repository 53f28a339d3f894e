/* SPDX-License-Identifier: AGPL-3.0-or-later
 *
 * What is said to init (pid 1 in a container) on its control socket, a listening SOCK_SEQPACKET unix socket in a
 * directory that only root can enter. One connection serves one process: the client sends START or EXEC, receives
 * STARTED or FAILED, may send SIGNAL, and receives EXITED at the end. ftos/runtime/control.py is the other side.
 */
#ifndef FTOS_CONTROL_H
#define FTOS_CONTROL_H

#include <stdint.h>

enum control_fd { /* the descriptors that the launcher hands to init */
	INIT_CONTROL_FD = 3,
	INIT_STATUS_FD = 4,
	INIT_LIFELINE_FD = 5, /* when its other end closes, the container ends */
};

enum control_kind {
	CONTROL_START = 1, /* the app itself: its end is the end of the container */
	CONTROL_EXEC = 2,  /* one more process, confined exactly as the app */
	CONTROL_SIGNAL = 3,
};

enum control_reply {
	REPLY_STARTED = 1, /* value: pid in the container; the pty's master comes along if one was asked for */
	REPLY_FAILED = 2,  /* value: errno */
	REPLY_EXITED = 3,  /* value: exit status, 128+n for a signal */
};

#define CONTROL_PAYLOAD_MAX 131072
#define CONTROL_STRINGS_MAX 4096

struct control_request {
	uint32_t kind;
	uint32_t terminal;  /* bits 0 to 2: this standard stream is the new pty; the others' fds come along, in order */
	uint32_t arguments; /* number of strings */
	uint32_t environment; /* number of strings */
	uint32_t signal;
	uint16_t rows, columns;
	uint32_t length; /* bytes of payload that follow: working directory, arguments, environment; each ends with 0 */
};

struct control_answer {
	uint32_t reply;
	int32_t value;
};

#endif
