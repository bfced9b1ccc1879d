/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Both threads take slices of the blocks in their order: the helper all the
 * time, the committer whenever the slice that it has to write next is not ready
 * yet.  They read the data of the last commit.  So they skip a block whose form
 * depends on one that this group writes: it is encoded when it is written.
 */
#include "encoding.h"

#include <errno.h>
#include <sched.h>

#include "array.h"
#include "chunk_encoder.h"
#include "fault.h"
#include "free.h"
#include "rest.h"

enum {
	BLOCKS_MIN = 512,        /* fewer are not worth a thread, */
	BYTES_MIN = 2 << 20,     /* unless their content is this long */
	SLICE_BLOCKS = 32,       /* blocks of a slice, at most */
	SLICE_BYTES = 128 << 10, /* content at which a slice is full */
	SLICES = 16,             /* slices ahead of the committer, at most */
};

struct slice {
	size_t first, len; /* blocks */
	bool ready;
	bool known[SLICE_BLOCKS];
	struct encoded forms[SLICE_BLOCKS];
	size_t at[SLICE_BLOCKS]; /* of the form's data in `bytes` */
	uint8_t *bytes;
	size_t bytes_len, bytes_capacity;
};

/* The encoders of a thread. */
struct encoder_set {
	struct encoding *encoding;
	struct writing writing; /* its transaction reads the last commit */
};

struct encoding {
	struct block *const *blocks;
	size_t blocks_len;
	uint64_t newest;     /* highest number in the last commit */
	uint64_t *rewritten; /* nodes that are stored and written again */
	size_t rewritten_len, rewritten_capacity;
	struct encoder_set mine, helpers;
	pthread_t helper;
	/* used by the committer only */
	struct slice *writing; /* the slice that is being written, or NULL */
	size_t block;          /* the next one in it */

	pthread_mutex_t lock; /* guards the rest */
	pthread_cond_t changed;
	size_t next;           /* block that is taken next */
	size_t taken, written; /* slices, counted from the first */
	bool stop;
	struct slice slices[SLICES];
};

/* ---- One block ---------------------------------------------------------- */

static bool is_rewritten(const struct encoding *e, uint64_t number)
{
	return array_find(e->rewritten, e->rewritten_len, number);
}

/* Encode a node.  Return false if it must be encoded when it is written. */
static bool node_ahead(struct encoder_set *set, const struct node *node,
                       struct encoded *ret_encoded)
{
	struct encoding *e = set->encoding;

	if (node->stored || node->copied > e->newest ||
	    is_rewritten(e, node->copied))
		return false;
	node_encode(&set->writing, node, ret_encoded);
	return !is_rewritten(e, ret_encoded->form.bases[0]);
}

/* Do the same with a chunk. */
static bool chunk_ahead(struct encoder_set *set, const struct chunk *chunk,
                        struct encoded *ret_encoded)
{
	return chunk->replaces <= set->encoding->newest &&
	       chunk_encode(&set->writing, chunk, ret_encoded) == 0;
}

static bool bytes_keep(struct slice *s, const struct encoded *encoded,
                       size_t *ret_at)
{
	size_t need = s->bytes_len + encoded->form.len;

	if (need > s->bytes_capacity) {
		uint8_t *bytes = realloc(s->bytes, 2 * need);

		if (!bytes)
			return false;
		s->bytes = bytes;
		s->bytes_capacity = 2 * need;
	}
	*ret_at = s->bytes_len;
	memcpy(s->bytes + s->bytes_len, encoded->form.data, encoded->form.len);
	s->bytes_len = need;
	return true;
}

static void slice_encode(struct encoder_set *set, struct slice *s)
{
	s->bytes_len = 0;
	for (size_t i = 0; i < s->len; i++) {
		const struct block *block = set->encoding->blocks[s->first + i];
		struct encoded *encoded = &s->forms[i];
		bool known;

		store_rest(set->writing.store);
		known = block->kind == BLOCK_NODE
		                ? node_ahead(set, (const struct node *)block,
		                             encoded)
		                : chunk_ahead(set, (const struct chunk *)block,
		                              encoded);
		if (known && !encoded->same)
			known = bytes_keep(s, encoded, &s->at[i]);
		encoded->ahead = true;
		s->known[i] = known;
	}
}

/* ---- Slices ------------------------------------------------------------- */

/* Take the next slice.  NULL: none may be taken now.  Lock held. */
static struct slice *slice_take(struct encoding *e)
{
	struct slice *s = &e->slices[e->taken % SLICES];
	size_t bytes = 0;

	if (e->next == e->blocks_len || e->taken - e->written == SLICES)
		return NULL;
	s->first = e->next;
	s->ready = false;
	while (e->next < e->blocks_len && bytes < SLICE_BYTES &&
	       e->next - s->first < SLICE_BLOCKS) {
		const struct block *block = e->blocks[e->next++];

		if (block->kind != BLOCK_NODE)
			bytes += ((const struct chunk *)block)->capacity;
	}
	s->len = e->next - s->first;
	e->taken++;
	return s;
}

/* Encode a slice that was taken.  Lock held, and released meanwhile. */
static void slice_run(struct encoder_set *set, struct slice *s)
{
	struct encoding *e = set->encoding;

	pthread_mutex_unlock(&e->lock);
	slice_encode(set, s);
	pthread_mutex_lock(&e->lock);
	s->ready = true;
	pthread_cond_broadcast(&e->changed);
}

static int helper_run(void *arg)
{
	struct encoder_set *set = arg;
	struct encoding *e = set->encoding;

	pthread_mutex_lock(&e->lock);
	while (!e->stop && e->next < e->blocks_len) {
		struct slice *s = slice_take(e);

		if (s)
			slice_run(set, s);
		else
			pthread_cond_wait(&e->changed, &e->lock);
	}
	pthread_mutex_unlock(&e->lock);
	return 0;
}

static void *helper_main(void *arg)
{
	struct encoder_set *set = arg;

	pthread_setname_np(pthread_self(), "encoder");
	store_background();
	if (fault_guard(helper_run, set) == FAULT)
		commit_fault(set->writing.store);
	return NULL;
}

/* Wait for the slice that is written next, or encode it.  Lock held. */
static void slice_wait(struct encoding *e)
{
	struct slice *s = &e->slices[e->written % SLICES], *other;

	while (e->taken == e->written || !s->ready) {
		other = slice_take(e);
		if (other)
			slice_run(&e->mine, other);
		else
			pthread_cond_wait(&e->changed, &e->lock);
	}
	e->writing = s;
	e->block = 0;
}

struct encoded *encoding_next(struct encoding *e)
{
	struct encoded *encoded;
	struct slice *s = e->writing;
	size_t i;

	if (!s || e->block == s->len) {
		pthread_mutex_lock(&e->lock);
		/* The caller has written the slice before: it can be reused. */
		if (s) {
			e->written++;
			pthread_cond_broadcast(&e->changed);
		}
		slice_wait(e);
		pthread_mutex_unlock(&e->lock);
		s = e->writing;
	}
	i = e->block++;
	encoded = &s->forms[i];
	if (!s->known[i])
		return NULL;
	if (!encoded->same)
		encoded->form.data = s->bytes + s->at[i];
	return encoded;
}

/* ---- Beginning and ending ----------------------------------------------- */

static int set_init(struct encoder_set *set, struct encoding *e,
                    const struct writing *w)
{
	struct writing *own = &set->writing;
	int r;

	set->encoding = e;
	own->store = w->store;
	own->disk = w->disk;
	own->txg = w->txg;
	r = encoder_create(w->store, &own->encoder);
	if (r == 0)
		r = node_encoder_create(&own->node_encoder);
	if (r == 0)
		r = disk_read_begin(w->disk, &own->txn);
	return r;
}

static void set_release(struct encoder_set *set)
{
	struct writing *own = &set->writing;

	if (own->txn)
		disk_read_end(own->disk, own->txn);
	node_encoder_destroy(own->node_encoder);
	encoder_destroy(own->encoder);
}

static int rewritten_list(struct encoding *e)
{
	for (size_t i = 0; i < e->blocks_len; i++) {
		const struct node *node = (const struct node *)e->blocks[i];
		uint64_t *number;

		if (node->block.kind != BLOCK_NODE || !node->stored)
			continue;
		number = array_add(&e->rewritten, &e->rewritten_len,
		                   &e->rewritten_capacity);
		if (!number)
			return -ENOMEM;
		*number = node->block.number;
	}
	return 0;
}

/* Return true if the blocks are worth a thread. */
static bool are_many(struct block *const *blocks, size_t len)
{
	size_t bytes = 0;

	if (len >= BLOCKS_MIN)
		return true;
	for (size_t i = 0; i < len; i++)
		if (blocks[i]->kind == BLOCK_CHUNK)
			bytes += ((const struct chunk *)blocks[i])->len;
	return bytes >= BYTES_MIN;
}

static bool has_processors(void)
{
	cpu_set_t set;

	return !sched_getaffinity(0, sizeof(set), &set) && CPU_COUNT(&set) > 1;
}

static void encoding_free(struct encoding *e)
{
	if (!e)
		return;
	set_release(&e->mine);
	set_release(&e->helpers);
	for (size_t i = 0; i < SLICES; i++)
		free(e->slices[i].bytes);
	free(e->rewritten);
	pthread_cond_destroy(&e->changed);
	pthread_mutex_destroy(&e->lock);
	free(e);
}

struct encoding *encoding_create(struct writing *w, struct block *const *blocks,
                                 size_t len)
{
	struct encoding *e;
	int r;

	if (!are_many(blocks, len) || !has_processors())
		return NULL;
	e = calloc(1, sizeof(*e));
	if (!e)
		return NULL;
	e->blocks = blocks;
	e->blocks_len = len;
	e->newest = w->last_key >> DISK_FRAGMENT_BITS;
	pthread_mutex_init(&e->lock, NULL);
	pthread_cond_init(&e->changed, NULL);
	r = rewritten_list(e);
	if (r == 0)
		r = set_init(&e->mine, e, w);
	if (r == 0)
		r = set_init(&e->helpers, e, w);
	if (r == 0)
		r = -pthread_create(&e->helper, NULL, helper_main, &e->helpers);
	if (r == 0)
		return e;
	encoding_free(e);
	return NULL;
}

void encoding_destroy(struct encoding *encoding)
{
	if (!encoding)
		return;
	pthread_mutex_lock(&encoding->lock);
	encoding->stop = true;
	pthread_cond_broadcast(&encoding->changed);
	pthread_mutex_unlock(&encoding->lock);
	pthread_join(encoding->helper, NULL);
	encoding_free(encoding);
}
