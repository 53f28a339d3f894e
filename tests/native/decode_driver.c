/* SPDX-License-Identifier: AGPL-3.0-or-later
 *
 * Drives the plan decoder for test_plan_decode.py, compiled with ASan and UBSan. Each plan is decoded from a heap copy of
 * exactly its size; of an accepted one every record and string is read, so that a reach beyond its bytes is seen.
 *
 *   decode_driver check                        plans on standard input: length, bytes to shift (u32 each), bytes;
 *                                              a line for each: "ok", or what the decoder says
 *   decode_driver flips|repaired|cuts FILE     each bit flipped; the same with the checksum made right; each length
 *                                              and, with size and checksum made right, each multiple of 8
 *   decode_driver mutations SEED COUNT FILE... COUNT random changes of the plans, checksum made right
 *
 * All but `check` print how many were accepted and refused.
 */
#include "../../ftos/_native/plan_decode.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PLANS_MAX 64
#define SIZE_FIELD offsetof(struct plan_header, size)
#define CHECKSUM_FIELD offsetof(struct plan_header, checksum)

static unsigned long accepted, refused;
static volatile uint64_t sink;

static void die(const char *why)
{
	fprintf(stderr, "decode_driver: %s\n", why);
	exit(2);
}

static void read_all(const void *from, size_t size)
{
	const uint8_t *bytes = from;
	uint64_t sum = 0;
	for (size_t i = 0; i < size; i++)
		sum += bytes[i];
	sink += sum;
}

static uint32_t read_string(const struct plan *plan, uint32_t offset)
{
	size_t length = strlen(plan_string(plan, offset));
	read_all(plan_string(plan, offset), length + 1);
	return offset + (uint32_t)length + 1;
}

static void read_strings(const struct plan *plan, uint32_t offset, uint32_t count)
{
	while (count--)
		offset = read_string(plan, offset);
}

static void read_plan(const struct plan *plan)
{
	const struct plan_header *header = plan->header;
	read_all(header, sizeof *header);
	read_all(plan->idmaps, header->idmaps.count * sizeof *plan->idmaps);
	read_all(plan->mounts, header->mounts.count * sizeof *plan->mounts);
	read_all(plan->landlock, header->landlock.count * sizeof *plan->landlock);
	read_all(plan->rlimits, header->rlimits.count * sizeof *plan->rlimits);
	read_all(plan->seccomp, header->seccomp.count * sizeof *plan->seccomp);
	read_all(plan->strings, header->strings.count);
	read_string(plan, header->name);
	read_string(plan, header->group);
	read_string(plan, header->hostname);
	read_string(plan, header->working_directory);
	read_strings(plan, header->command, header->command_count);
	read_strings(plan, header->environment, header->environment_count);
	for (uint32_t i = 0; i < header->mounts.count; i++) {
		const struct plan_mount *mount = &plan->mounts[i];
		read_string(plan, mount->source);
		read_string(plan, mount->beneath);
		read_string(plan, mount->target);
		if (mount->idmap >= 0)
			read_all(&plan->idmaps[mount->idmap], sizeof *plan->idmaps);
	}
	for (uint32_t i = 0; i < header->landlock.count; i++)
		read_string(plan, plan->landlock[i].path);
}

static const char *decode(const uint8_t *bytes, size_t size, size_t shift)
{
	uint8_t *copy = malloc(size + shift ? size + shift : 1);
	struct plan plan;
	if (!copy)
		die("no memory");
	if (size)
		memcpy(copy + shift, bytes, size);
	const char *wrong = plan_decode(copy + shift, size, &plan);
	if (wrong) {
		refused++;
	} else {
		accepted++;
		read_plan(&plan);
	}
	free(copy);
	return wrong;
}

/* Written again here, so that the decoder's own sum is checked too. */
static void repair(uint8_t *bytes, size_t size)
{
	uint64_t hash = 14695981039346656037ULL, word;
	if (size < sizeof(struct plan_header))
		return;
	memset(bytes + CHECKSUM_FIELD, 0, 8);
	for (size_t at = 0; at + 8 <= size; at += 8) {
		memcpy(&word, bytes + at, 8);
		hash = (hash ^ word) * 1099511628211ULL;
	}
	memcpy(bytes + CHECKSUM_FIELD, &hash, 8);
}

static uint8_t *read_file(const char *path, size_t *size)
{
	uint8_t *bytes = malloc(PLAN_SIZE_MAX + 1);
	FILE *file = fopen(path, "rb");
	if (!bytes || !file)
		die("can't read the plan");
	*size = fread(bytes, 1, PLAN_SIZE_MAX + 1, file);
	fclose(file);
	return bytes;
}

static void check_input(void)
{
	uint32_t frame[2];
	while (fread(frame, sizeof frame, 1, stdin) == 1) {
		uint8_t *bytes = malloc(frame[0] + 1);
		if (!bytes || fread(bytes, 1, frame[0], stdin) != frame[0])
			die("the input is cut off");
		const char *wrong = decode(bytes, frame[0], frame[1]);
		puts(wrong ? wrong : "ok");
		free(bytes);
	}
}

static void flip_bits(const char *path, int repaired)
{
	size_t size;
	uint8_t *bytes = read_file(path, &size), *changed = malloc(size);
	if (!changed)
		die("no memory");
	for (size_t bit = 0; bit < size * 8; bit++) {
		memcpy(changed, bytes, size);
		changed[bit / 8] ^= (uint8_t)(1 << bit % 8);
		if (repaired)
			repair(changed, size);
		decode(changed, size, 0);
	}
	free(changed);
	free(bytes);
}

static void cut(const char *path)
{
	size_t size;
	uint8_t *bytes = read_file(path, &size);
	for (size_t length = 0; length < size; length++)
		decode(bytes, length, 0);
	for (size_t length = (size - 1) & ~(size_t)7; length >= 16; length -= 8) {
		uint32_t shorter = (uint32_t)length;
		memcpy(bytes + SIZE_FIELD, &shorter, 4);
		repair(bytes, length);
		decode(bytes, length, 0);
	}
	free(bytes);
}

static uint64_t state;

static uint32_t random_below(uint32_t limit) /* xorshift64* */
{
	state ^= state >> 12;
	state ^= state << 25;
	state ^= state >> 27;
	return (uint32_t)((state * 2685821657736338717ULL) >> 32) % limit;
}

static void mutate_once(uint8_t *bytes, uint32_t size)
{
	const uint32_t values[] = {0,
				   1,
				   7,
				   8,
				   16,
				   255,
				   256,
				   4096,
				   65536,
				   0x7fffffff,
				   0x80000000,
				   0xfffffff8,
				   0xffffffff,
				   size,
				   size - 8,
				   size + 8,
				   (uint32_t)sizeof(struct plan_header),
				   random_below(size)};
	/* Half of the changes hit the header and the records behind it, which decide most. */
	uint32_t reach = random_below(2) || size < 1024 ? size : 1024;
	uint32_t at = random_below(reach);
	switch (random_below(4)) {
	case 0:
		bytes[at] = (uint8_t)random_below(256);
		break;
	case 1:
		at = at % (size - 3) & ~3u;
		memcpy(bytes + at, &values[random_below(sizeof values / sizeof *values)], 4);
		break;
	case 2:
		at = at % (size - 7) & ~7u;
		memmove(bytes + at, bytes + (random_below(size - 7) & ~7u), 8);
		break;
	case 3:
		bytes[at] ^= (uint8_t)(1 << random_below(8));
		break;
	}
}

static void mutate(uint64_t seed, unsigned long count, char **paths, int path_count)
{
	uint8_t *plans[PLANS_MAX], *changed = malloc(PLAN_SIZE_MAX + 1);
	size_t sizes[PLANS_MAX];
	if (path_count > PLANS_MAX || !changed)
		die("too many plans");
	for (int i = 0; i < path_count; i++)
		plans[i] = read_file(paths[i], &sizes[i]);
	state = seed * 2654435761u + 1;
	while (count--) {
		uint32_t which = random_below((uint32_t)path_count), size = (uint32_t)sizes[which];
		memcpy(changed, plans[which], size);
		for (uint32_t changes = 1 + random_below(6); changes; changes--)
			mutate_once(changed, size);
		if (!random_below(8))
			size = 160 + (random_below(size - 160) & ~7u);
		/* Else hardly anything gets past the first checks. */
		memcpy(changed, plans[which], 12);
		memcpy(changed + SIZE_FIELD, &size, 4);
		repair(changed, size);
		decode(changed, size, 0);
	}
	for (int i = 0; i < path_count; i++)
		free(plans[i]);
	free(changed);
}

int main(int count, char **arguments)
{
	const char *mode = count > 1 ? arguments[1] : "";
	if (!strcmp(mode, "check")) {
		check_input();
		return 0;
	}
	if (!strcmp(mode, "flips") && count == 3)
		flip_bits(arguments[2], 0);
	else if (!strcmp(mode, "repaired") && count == 3)
		flip_bits(arguments[2], 1);
	else if (!strcmp(mode, "cuts") && count == 3)
		cut(arguments[2]);
	else if (!strcmp(mode, "mutations") && count > 4)
		mutate(strtoull(arguments[2], NULL, 10), strtoul(arguments[3], NULL, 10), arguments + 4, count - 4);
	else
		die("unknown mode");
	printf("accepted %lu refused %lu\n", accepted, refused);
	return 0;
}
