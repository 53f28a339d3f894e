/* SPDX-License-Identifier: AGPL-3.0-or-later
 *
 * Plan bytes, version 1: the layout (docs/plan-format.md, ftos/plan/encode.py) and its bounds-checked reader.
 *
 * All numbers are little-endian. The structures below lie in the bytes as they are; nothing is copied. After
 * plan_decode has accepted the bytes, every offset, count, index and enumeration in them is valid, every string ends
 * within them, and the launch they describe happens in namespaces and under ids of its own.
 */
#ifndef FTOS_PLAN_DECODE_H
#define FTOS_PLAN_DECODE_H

#include <stddef.h>
#include <stdint.h>

#define PLAN_MAGIC "FTOSPLAN"
#define PLAN_VERSION 1
#define PLAN_SIZE_MAX (1u << 20)
#define PLAN_ID_COUNT 65536u	 /* ids of a container */
#define PLAN_IDS_FIRST 65536u	 /* ids below are the host's own */
#define PLAN_IDS_END 2147352576u /* systemd's foreign range begins here: ids on disk */

enum plan_limits {
	PLAN_IDMAPS_MAX = 16,
	PLAN_MOUNTS_MAX = 256,
	PLAN_LANDLOCK_MAX = 256,
	PLAN_RLIMITS_MAX = 16,
	PLAN_SECCOMP_MAX = 4096,
	PLAN_STRINGS_COUNT_MAX = 4096,
};

enum plan_mount_kind {
	MOUNT_LAYER = 1,
	MOUNT_ROOT = 2,
	MOUNT_BIND = 3,
	MOUNT_TMPFS = 4,
	MOUNT_PROC = 5,
	MOUNT_DEV = 6,
	MOUNT_DISCARD = 7,
	MOUNT_MASK = 8,
};

enum plan_mount_flag {
	MF_READ_ONLY = 1,
	MF_NO_EXEC = 2,
	MF_OPTIONAL = 4,
	MF_FILE = 8,
	MF_CREATE_TARGET = 16,
	MF_ROOT_OWNED = 32,
	MF_ALL = 63,
};

enum plan_flag {
	PLAN_LANDLOCK_SCOPES = 1,
	PLAN_FLAGS_ALL = 1,
};

/* A run of records: `offset` bytes from the start of the plan, `count` records. */
struct plan_range {
	uint32_t offset;
	uint32_t count;
};

struct plan_header {
	char magic[8];
	uint32_t version;
	uint32_t size;
	uint64_t checksum; /* FNV-1a over the 64-bit words of the plan, this field taken as 0 */
	uint64_t capabilities;
	uint64_t memory_max;
	uint32_t pids_max;
	uint32_t cpu_weight;
	uint32_t namespaces;
	uint32_t flags;
	uint32_t uid;
	uint32_t gid;
	uint32_t umask;
	int32_t oom_score_adj;
	uint32_t name; /* string offsets, from the start of the strings */
	uint32_t group;
	uint32_t hostname;
	uint32_t working_directory;
	uint32_t command; /* first of command_count strings that follow one another */
	uint32_t command_count;
	uint32_t environment; /* NAME=VALUE, likewise */
	uint32_t environment_count;
	struct plan_range idmaps;
	struct plan_range mounts;
	struct plan_range landlock;
	struct plan_range rlimits;
	struct plan_range seccomp;
	struct plan_range strings; /* count is in bytes */
};

struct plan_idmap {
	uint32_t uid;
	uint32_t gid;
	uint32_t outside;
	uint32_t count;
};

struct plan_mount {
	uint32_t kind;
	uint32_t flags;
	int32_t idmap;
	uint32_t mode;
	uint32_t source;
	uint32_t beneath;
	uint32_t target;
	uint32_t reserved;
	uint64_t size;
};

struct plan_landlock {
	uint32_t path;
	uint32_t access;
};

struct plan_rlimit {
	uint32_t resource;
	uint32_t reserved;
	uint64_t soft;
	uint64_t hard;
};

struct plan_filter { /* struct sock_filter */
	uint16_t code;
	uint8_t jt;
	uint8_t jf;
	uint32_t k;
};

struct plan {
	const struct plan_header *header;
	const struct plan_idmap *idmaps;
	const struct plan_mount *mounts;
	const struct plan_landlock *landlock;
	const struct plan_rlimit *rlimits;
	const struct plan_filter *seccomp;
	const char *strings;
};

/* NULL and a filled `plan` when the bytes are whole, else what is wrong with them. `bytes` must be 8-byte aligned. */
const char *plan_decode(const void *bytes, size_t size, struct plan *plan);

static inline const char *plan_string(const struct plan *plan, uint32_t offset)
{
	return plan->strings + offset;
}

#endif
