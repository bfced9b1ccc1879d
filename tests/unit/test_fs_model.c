/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Random operations on files of several forks and snapshots, against a model
 * that keeps every byte of every file of every state in memory.
 */
#include "fs_fixture.h"

#include <linux/falloc.h>
#include <stdio.h>

#include "fs_struct.h"
#include "range.h"

enum { STATES = 8, FILES = 6, SIZE_MAX_ = 96 * 4096 };

struct model_file {
	bool there;
	uint8_t *data; /* SIZE_MAX_ bytes, zero behind size */
	size_t size;
};

struct model_state {
	bool there, readonly;
	char name[64];
	node_t root;
	struct model_file files[FILES];
};

static struct fixture w;
static struct model_state states[STATES];
static uint64_t seed;
static unsigned names_used;
static uint8_t buffer[SIZE_MAX_];

static size_t random_below(size_t n)
{
	return (size_t)(scratch_random(&seed) % n);
}

/* Offsets and lengths that like the edges of chunks. */
static size_t random_place(void)
{
	size_t at = random_below(SIZE_MAX_);

	switch (random_below(4)) {
	case 0:
		at &= ~(size_t)4095;
		break;
	case 1:
		at = random_below(600);
		break;
	case 2:
		at = (at & ~(size_t)4095) + random_below(3);
		break;
	}
	return at;
}

static void random_range(size_t *ret_off, size_t *ret_len)
{
	size_t a = random_place(), b = random_place();

	if (random_below(3) == 0)
		b = a + random_below(300);
	*ret_off = MIN(a, b);
	*ret_len = MIN(MAX(a, b), SIZE_MAX_) - *ret_off;
	if (!*ret_len)
		*ret_len = 1;
	if (*ret_off + *ret_len > SIZE_MAX_)
		*ret_off = SIZE_MAX_ - *ret_len;
}

static node_t file_node(struct model_state *s, int i)
{
	char name[8];

	snprintf(name, sizeof(name), "f%d", i);
	return look(&w, s->root, name);
}

static void file_compare(struct model_state *s, int i)
{
	struct model_file *f = &s->files[i];
	node_t node = file_node(s, i);

	if (!f->there) {
		assert_int_equal(node, 0);
		return;
	}
	assert_int_equal(attr(&w, node).st_size, f->size);
	assert_int_equal(get(&w, node, 0, buffer, sizeof(buffer)), f->size);
	if (memcmp(buffer, f->data, f->size)) {
		size_t at = 0;

		while (buffer[at] == f->data[at])
			at++;
		fail_msg("state %s file %d differs at %zu of %zu", s->name, i,
		         at, f->size);
	}
}

static void compare_all(void)
{
	for (int s = 0; s < STATES; s++)
		for (int i = 0; states[s].there && i < FILES; i++)
			file_compare(&states[s], i);
	fixture_check(&w);
}

static void model_forget(struct model_state *s)
{
	for (int i = 0; i < FILES; i++)
		free(s->files[i].data);
	memset(s, 0, sizeof(*s));
}

/* ---- Operations --------------------------------------------------------- */

static struct model_state *random_state(bool writable)
{
	struct model_state *s;

	do
		s = &states[random_below(STATES)];
	while (!s->there || (writable && s->readonly));
	return s;
}

static void grow(struct model_file *f, size_t end)
{
	f->size = MAX(f->size, end);
}

static void op_write(struct model_file *f, node_t node)
{
	size_t off, len;

	random_range(&off, &len);
	if (random_below(3) == 0) {
		off = MIN(f->size, (size_t)SIZE_MAX_ - 1);
		len = 1 + random_below(300);
		len = MIN(len, SIZE_MAX_ - off);
	}
	for (size_t i = 0; i < len; i++)
		buffer[i] = (uint8_t)(1 + scratch_random(&seed) % 255);
	put(&w, node, (off_t)off, buffer, len);
	memcpy(f->data + off, buffer, len);
	grow(f, off + len);
}

static void op_truncate(struct model_file *f, node_t node)
{
	size_t size = random_below(3) ? random_place() : f->size / 2;

	assert_int_equal(resize(&w, node, (off_t)size), 0);
	if (size < f->size)
		memset(f->data + size, 0, f->size - size);
	f->size = size;
}

static void op_fallocate(struct model_file *f, node_t node)
{
	static const int modes[] = {
	        0,
	        FALLOC_FL_KEEP_SIZE,
	        FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
	        FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
	        FALLOC_FL_ZERO_RANGE,
	        FALLOC_FL_ZERO_RANGE | FALLOC_FL_KEEP_SIZE,
	};
	int mode = modes[random_below(ARRAY_SIZE(modes))];
	size_t off, len;

	random_range(&off, &len);
	assert_int_equal(fs_fallocate(w.fs, node, mode, (off_t)off, (off_t)len),
	                 0);
	if (mode & (FALLOC_FL_PUNCH_HOLE | FALLOC_FL_ZERO_RANGE))
		memset(f->data + off, 0, len);
	if (!(mode & FALLOC_FL_KEEP_SIZE))
		grow(f, off + len);
}

static void op_copy(struct model_file *to, node_t node)
{
	struct model_state *s = random_state(false);
	int i = (int)random_below(FILES);
	struct model_file *from = &s->files[i];
	size_t off, len, to_off, wanted;
	ssize_t copied;

	if (!from->there)
		return;
	random_range(&off, &len);
	to_off = random_below(2) ? off : random_place();
	if (random_below(2)) {
		off &= ~(size_t)4095;
		to_off &= ~(size_t)4095;
		len = SIZE_MAX_;
	}
	len = MIN(len, SIZE_MAX_ - to_off);
	wanted = off < from->size ? MIN(len, from->size - off) : 0;
	copied = fs_copy_range(w.fs, file_node(s, i), (off_t)off, node,
	                       (off_t)to_off, len);
	if (from == to && off < to_off + wanted && to_off < off + wanted) {
		assert_int_equal(copied, -EINVAL);
		return;
	}
	assert_int_equal(copied, wanted);
	memmove(to->data + to_off, from->data + off, wanted);
	if (wanted)
		grow(to, to_off + wanted);
}

static void op_read(struct model_file *f, node_t node)
{
	size_t off, len, wanted;

	random_range(&off, &len);
	wanted = off < f->size ? MIN(len, f->size - off) : 0;
	assert_int_equal(get(&w, node, (off_t)off, buffer, len), wanted);
	assert_memory_equal(buffer, f->data + off, wanted);
}

/* A reported hole must be zeroes, and all other data must be reported. */
static void op_seek(struct model_file *f, node_t node)
{
	size_t at = random_place();
	off_t data;
	int err = fs_seek(w.fs, node, (off_t)at, SEEK_DATA, &data);

	if (err) {
		assert_int_equal(err, -ENXIO);
		data = (off_t)MAX(f->size, at);
	}
	for (; at < (size_t)data; at++)
		assert_int_equal(f->data[at], 0);
	if (at >= f->size)
		return;
	assert_int_equal(fs_seek(w.fs, node, (off_t)at, SEEK_HOLE, &data), 0);
	assert_uint_in_range(data, at + 1, f->size);
	if ((size_t)data < f->size)
		assert_int_equal(f->data[data], 0);
}

static void op_make(struct model_state *s, int i)
{
	char name[8], other_name[8];
	int other = (int)random_below(FILES);
	struct model_file *f = &s->files[i];

	snprintf(name, sizeof(name), "f%d", i);
	snprintf(other_name, sizeof(other_name), "f%d", other);
	if (!f->there) {
		make(&w, s->root, name, S_IFREG | 0644);
		f->there = true;
		f->size = 0;
		f->data = calloc(1, SIZE_MAX_);
	} else if (random_below(4) == 0) {
		assert_int_equal(fs_unlink(w.fs, s->root, name), 0);
		free(f->data);
		*f = (struct model_file){0};
	} else if (other != i && random_below(2)) {
		assert_int_equal(fs_rename(w.fs, s->root, name, s->root,
		                           other_name, 0, NULL),
		                 0);
		free(s->files[other].data);
		s->files[other] = *f;
		*f = (struct model_file){0};
	}
}

static void op_state(void)
{
	struct model_state *from = random_state(false), *to;
	struct fs_entry e;
	bool snapshot = !from->readonly && random_below(3) == 0;
	node_t parent = snapshot ? NODE(NODE_STATE(from->root), INO_SNAPDIR)
	                         : NODE_ROOT;

	to = &states[random_below(STATES)];
	if (to->there) {
		struct state *state;

		/* The first state stays. */
		if (to == &states[0] || to == from)
			return;
		store_lock(w.store);
		assert_int_equal(
		        state_get(w.forest, NODE_STATE(to->root), &state), 0);
		if (!state->snapshots)
			assert_int_equal(state_delete(w.forest, state, false),
			                 0);
		else
			to = NULL;
		store_unlock(w.store);
		if (!to)
			return;
		model_forget(to);
	}
	*to = *from;
	/* A fork of a snapshot is asked for by the number, as its fork may be
	 * anything by now; names are tested elsewhere. */
	snprintf(to->name, sizeof(to->name), "s%u", names_used++);
	if (snapshot) {
		assert_int_equal(fs_make(w.fs, parent, to->name, S_IFDIR, 0,
		                         NULL, &fixture_cred, &e),
		                 0);
		to->root = e.node;
	} else {
		struct state *source, *fork;

		store_lock(w.store);
		assert_int_equal(
		        state_get(w.forest, NODE_STATE(from->root), &source),
		        0);
		assert_int_equal(state_fork(w.forest, source, to->name, &fork),
		                 0);
		fs_adopt(w.fs, fork);
		to->root = NODE(fork->number, INO_ROOT);
		store_unlock(w.store);
	}
	to->readonly = snapshot;
	for (int i = 0; i < FILES; i++) {
		if (!to->files[i].there)
			continue;
		to->files[i].data = malloc(SIZE_MAX_);
		memcpy(to->files[i].data, from->files[i].data, SIZE_MAX_);
	}
}

static void op_file(void)
{
	struct model_state *s = random_state(true);
	int i = (int)random_below(FILES);
	struct model_file *f = &s->files[i];
	node_t node;

	if (!f->there || random_below(30) == 0) {
		op_make(s, i);
		return;
	}
	node = file_node(s, i);
	switch (random_below(12)) {
	case 0:
		op_truncate(f, node);
		break;
	case 1:
	case 2:
		op_fallocate(f, node);
		break;
	case 3:
	case 4:
		op_copy(f, node);
		break;
	case 5:
		op_seek(f, node);
		break;
	case 6:
	case 7:
		op_read(f, node);
		break;
	default:
		op_write(f, node);
	}
}

static void run(uint32_t chunk_bits, uint64_t ops)
{
	fixture_init(&w, chunk_bits);
	states[0].there = true;
	strcpy(states[0].name, "main");
	states[0].root = w.main;
	for (uint64_t n = 0; n < ops; n++) {
		if (random_below(40) == 0)
			op_state();
		else
			op_file();
		if (random_below(100) == 0)
			assert_int_equal(store_sync(w.store), 0);
		if (random_below(1000) == 0) {
			fixture_reopen(&w);
			compare_all();
		}
	}
	compare_all();
	assert_int_equal(forest_drain(w.forest), 0);
	compare_all();
	for (int i = 0; i < STATES; i++)
		model_forget(&states[i]);
	fixture_release(&w);
}

static void test_model(void **state)
{
	uint64_t ops = scratch_ops(9000);

	seed = scratch_seed();
	run(12, ops / 3);
	run(13, ops / 3);
	run(16, ops / 3);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	        cmocka_unit_test(test_model),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
