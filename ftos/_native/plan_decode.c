/* SPDX-License-Identifier: AGPL-3.0-or-later
 *
 * The reader of plan bytes. It trusts nothing: see tests/native for what is tried against it.
 */
#include "plan_decode.h"

#include <stdbool.h>
#include <string.h>

_Static_assert(sizeof(struct plan_header) == 152, "the header's layout is part of the format");
_Static_assert(sizeof(struct plan_mount) == 40, "the mount's layout is part of the format");

#define NAMESPACES_ALWAYS 0x2e020000u /* CLONE_NEWNS, CGROUP, UTS, IPC, PID; never CLONE_NEWUSER */
#define NAMESPACES_ALL (NAMESPACES_ALWAYS | 0x40000000u /* CLONE_NEWNET */)
#define CAPABILITIES_ALL ((1ULL << 41) - 1)

static uint64_t checksum(const uint8_t *bytes, size_t size)
{
	uint64_t hash = 0xcbf29ce484222325ULL;
	for (size_t at = 0; at < size; at += 8) {
		uint64_t word;
		memcpy(&word, bytes + at, 8);
		if (at == offsetof(struct plan_header, checksum))
			word = 0;
		hash = (hash ^ word) * 0x100000001b3ULL;
	}
	return hash;
}

/* The records of `range` are aligned, within the plan, behind the header, and not more than `limit`. */
static bool range_fits(const struct plan_header *header, const struct plan_range *range, size_t record, uint32_t limit)
{
	if (range->count > limit || range->offset % 8 || range->offset < sizeof *header || range->offset > header->size)
		return false;
	return range->count <= (header->size - range->offset) / record;
}

static bool string_fits(const struct plan *plan, uint32_t offset)
{
	return offset < plan->header->strings.count; /* the last byte of the strings is 0 */
}

static bool strings_fit(const struct plan *plan, uint32_t offset, uint32_t count)
{
	if (count > PLAN_STRINGS_COUNT_MAX)
		return false;
	for (; count; count--) {
		if (!string_fits(plan, offset))
			return false;
		offset += (uint32_t)strlen(plan->strings + offset) + 1;
	}
	return true;
}

static const char *check_header(const struct plan *plan)
{
	const struct plan_header *header = plan->header;
	if (!header->strings.count || plan->strings[header->strings.count - 1])
		return "the strings are not terminated";
	if (!string_fits(plan, header->name) || !string_fits(plan, header->group) ||
	    !string_fits(plan, header->hostname) || !string_fits(plan, header->working_directory))
		return "a string lies outside the strings";
	if (!header->command_count || !strings_fit(plan, header->command, header->command_count))
		return "the command lies outside the strings";
	if (!strings_fit(plan, header->environment, header->environment_count))
		return "the environment lies outside the strings";
	if (strlen(plan_string(plan, header->hostname)) > 64)
		return "the host name is too long";
	if (header->namespaces & ~NAMESPACES_ALL)
		return "an unknown namespace is asked for";
	if (~header->namespaces & NAMESPACES_ALWAYS)
		return "a namespace is shared with the host that never may be";
	if (header->flags & ~PLAN_FLAGS_ALL)
		return "an unknown flag is set";
	if (header->capabilities & ~CAPABILITIES_ALL)
		return "an unknown capability is asked for";
	if (header->umask > 0777 || header->oom_score_adj < -1000 || header->oom_score_adj > 1000)
		return "the umask or the OOM score is out of range";
	return NULL;
}

static const char *check_idmaps(const struct plan *plan)
{
	const struct plan_header *header = plan->header;
	const struct plan_idmap *own = plan->idmaps;
	if (!header->idmaps.count)
		return "the map of the user namespace is missing";
	if (own->uid || own->gid || own->count != PLAN_ID_COUNT)
		return "the map of the user namespace is not of 65536 ids from 0";
	if (own->outside < PLAN_IDS_FIRST || own->outside > PLAN_IDS_END - PLAN_ID_COUNT)
		return "the container's ids lie where ids of the host may be";
	for (const struct plan_idmap *map = own + 1; map < own + header->idmaps.count; map++) {
		if (!map->count || map->uid > UINT32_MAX - map->count || map->gid > UINT32_MAX - map->count)
			return "an id map is out of range";
		if (map->outside < own->outside || map->count > PLAN_ID_COUNT ||
		    map->outside - own->outside > PLAN_ID_COUNT - map->count)
			return "an id map leads to ids of others";
	}
	if (header->uid >= PLAN_ID_COUNT || header->gid >= PLAN_ID_COUNT)
		return "the user is not in the map of the user namespace";
	return NULL;
}

/* What a mount of a directory or file of the host, and one that lives in memory, must have. */
static const char *check_origin(const struct plan *plan, const struct plan_mount *mount)
{
	const char *source = plan_string(plan, mount->source);
	bool in_memory = mount->kind == MOUNT_TMPFS || mount->kind == MOUNT_DEV || mount->kind == MOUNT_DISCARD;
	bool of_host = mount->kind == MOUNT_LAYER || mount->kind == MOUNT_BIND;

	if (mount->kind == MOUNT_ROOT && *source) {
		in_memory = !strcmp(source, "tmpfs");
		of_host = !in_memory;
	}
	if (of_host && *source != '/')
		return "a mount's source is not absolute";
	if (of_host && mount->idmap < 0)
		return "a mount shows ids of the host as they are";
	if (in_memory && !mount->size)
		return "a file system in memory has no limit";
	return NULL;
}

static const char *check_mounts(const struct plan *plan)
{
	const char *wrong;
	uint32_t roots = 0;
	for (uint32_t i = 0; i < plan->header->mounts.count; i++) {
		const struct plan_mount *mount = &plan->mounts[i];
		if (mount->kind < MOUNT_LAYER || mount->kind > MOUNT_MASK)
			return "an unknown kind of mount";
		if (mount->flags & ~(uint32_t)MF_ALL || mount->mode > 07777 || mount->reserved)
			return "a mount has an unknown flag or mode";
		if (mount->idmap < -1 || mount->idmap >= (int64_t)plan->header->idmaps.count)
			return "a mount names an id map that does not exist";
		if (!string_fits(plan, mount->source) || !string_fits(plan, mount->beneath) ||
		    !string_fits(plan, mount->target))
			return "a path lies outside the strings";
		if ((wrong = check_origin(plan, mount)))
			return wrong;
		if (mount->kind == MOUNT_LAYER && roots)
			return "a layer comes after the root";
		if (mount->kind > MOUNT_ROOT && !roots)
			return "a mount comes before the root";
		if (mount->kind > MOUNT_ROOT && plan_string(plan, mount->target)[0] != '/')
			return "a mount's target is not absolute";
		if (mount->kind == MOUNT_ROOT && !i && strcmp(plan_string(plan, mount->source), "tmpfs"))
			return "a root has no layer";
		roots += mount->kind == MOUNT_ROOT;
	}
	if (roots != 1)
		return "there is not exactly one root";
	return NULL;
}

static const char *check_rest(const struct plan *plan)
{
	const struct plan_header *header = plan->header;
	if (!header->landlock.count)
		return "landlock has no rules";
	for (uint32_t i = 0; i < header->landlock.count; i++) {
		const struct plan_landlock *rule = &plan->landlock[i];
		if (!string_fits(plan, rule->path) || *plan_string(plan, rule->path) != '/')
			return "a landlock rule is for no absolute path";
		if (!rule->access || rule->access > 0xffff)
			return "a landlock rule names unknown rights";
	}
	for (uint32_t i = 0; i < header->rlimits.count; i++) {
		const struct plan_rlimit *limit = &plan->rlimits[i];
		if (limit->resource >= 16 || limit->reserved || limit->soft > limit->hard)
			return "a resource limit is unknown or out of range";
	}
	return header->seccomp.count ? NULL : "the system call filter is missing";
}

const char *plan_decode(const void *bytes, size_t size, struct plan *plan)
{
	const struct plan_header *header = bytes;
	const uint8_t *start = bytes;
	const char *wrong;

	if ((uintptr_t)bytes % 8)
		return "the plan is not aligned";
	if (size < sizeof *header || size % 8 || size > PLAN_SIZE_MAX)
		return "the plan's size is wrong";
	if (memcmp(header->magic, PLAN_MAGIC, 8))
		return "this is not a plan";
	if (header->version != PLAN_VERSION)
		return "the plan has another version";
	if (header->size != size)
		return "the plan is cut off";
	if (header->checksum != checksum(bytes, size))
		return "the plan is damaged";
	if (!range_fits(header, &header->idmaps, sizeof *plan->idmaps, PLAN_IDMAPS_MAX) ||
	    !range_fits(header, &header->mounts, sizeof *plan->mounts, PLAN_MOUNTS_MAX) ||
	    !range_fits(header, &header->landlock, sizeof *plan->landlock, PLAN_LANDLOCK_MAX) ||
	    !range_fits(header, &header->rlimits, sizeof *plan->rlimits, PLAN_RLIMITS_MAX) ||
	    !range_fits(header, &header->seccomp, sizeof *plan->seccomp, PLAN_SECCOMP_MAX) ||
	    !range_fits(header, &header->strings, 1, PLAN_SIZE_MAX))
		return "a section lies outside the plan";

	plan->header = header;
	plan->idmaps = (const void *)(start + header->idmaps.offset);
	plan->mounts = (const void *)(start + header->mounts.offset);
	plan->landlock = (const void *)(start + header->landlock.offset);
	plan->rlimits = (const void *)(start + header->rlimits.offset);
	plan->seccomp = (const void *)(start + header->seccomp.offset);
	plan->strings = (const char *)(start + header->strings.offset);

	if ((wrong = check_header(plan)) || (wrong = check_idmaps(plan)) || (wrong = check_mounts(plan)))
		return wrong;
	return check_rest(plan);
}
