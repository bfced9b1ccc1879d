/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Sweep versions.
 *
 * A nameless version V with several children waits until one is left.  A block
 * that every child has dropped is on all of their deadlists, and is never read:
 * neither the children's trees nor those of their descendants have it.  If it
 * is above V's base, only V held it, and it is freed.  Otherwise V's ancestors
 * have it, and it goes to V's own deadlist: V has now dropped it.  Versions are
 * swept from the newest to the oldest, so that the sweep of V's parent can free
 * the blocks that V has dropped.
 *
 * The commit that frees a block reads the lists of all children again
 * (list_sweep()), in its order among merges and drops of lists.  A child that
 * is added later would need V's tree: a head that still has it has an empty
 * deadlist, and then nothing is on all of them.
 *
 * V is hollow from then on; its root is set to 0.  It must not be reaped, as
 * that would need its tree: see reap_alone().
 */
#include "sweep.h"
#include "array.h"
#include "forest.h"
#include "util.h"

#include <errno.h>

enum { PIECE = 256, CHILDREN_MOST = 4096 };

/* A version as of the last commit; sorted by parent, then by id. */
struct link {
	uint64_t parent, id;
};

struct sweep {
	struct forest *forest;
	bool dry_run;
	struct link *links;
	size_t len, capacity;
	uint64_t *candidates; /* versions, ascending */
	size_t candidates_len, candidates_capacity;
	uint64_t *lists; /* of the children of the version at hand */
	uint64_t *forks; /* of that version */
	size_t forks_len, forks_capacity;
};

static void sweep_release(struct sweep *s)
{
	free(s->links);
	free(s->candidates);
	free(s->lists);
	free(s->forks);
}

static int by_parent(const void *a, const void *b)
{
	const struct link *x = a, *y = b;

	if (x->parent != y->parent)
		return x->parent < y->parent ? -1 : 1;
	return x->id < y->id ? -1 : x->id > y->id;
}

/* ---- The lineage -------------------------------------------------------- */

static int version_note(struct sweep *s, const struct record *record)
{
	struct version v = {0};
	struct link *link;
	uint64_t *id;

	if (record->key_len != 8 ||
	    version_decode(record->value, record->len, &v))
		return -EUCLEAN;
	link = array_add(&s->links, &s->len, &s->capacity);
	if (!link)
		return -ENOMEM;
	*link = (struct link){v.parent, be64_get(record->key)};
	if (v.refs || v.children < 2 || v.children > CHILDREN_MOST || v.same)
		return 0;
	id = array_add(&s->candidates, &s->candidates_len,
	               &s->candidates_capacity);
	if (!id)
		return -ENOMEM;
	*id = link->id;
	return 0;
}

/* Read all versions, in pieces. */
static int lineage_read(struct sweep *s)
{
	struct store *store = s->forest->store;
	struct record record = {.key_len = 0};
	int r = 0;

	while (!r) {
		store_lock(store);
		for (int i = 0; !r && i < PIECE; i++) {
			r = table_next(store, TABLE_VERSION, record.key,
			               record.key_len, &record);
			if (!r)
				r = version_note(s, &record);
		}
		store_unlock(store);
		if (!r)
			r = store_yield(store);
	}
	if (r != -ENOENT)
		return r;
	array_sort(s->links, s->len, by_parent);
	return 0;
}

/* Return the children of a version: links that lie together. */
static const struct link *children_of(const struct sweep *s, uint64_t id,
                                      size_t *ret_count)
{
	size_t low = 0, high = s->len, count = 0;

	while (low < high) {
		size_t mid = low + (high - low) / 2;

		if (s->links[mid].parent < id)
			low = mid + 1;
		else
			high = mid;
	}
	while (low + count < s->len && s->links[low + count].parent == id)
		count++;
	*ret_count = count;
	return &s->links[low];
}

/* ---- A version ---------------------------------------------------------- */

/*
 * Find the version, all of its children and their lists.  -ENOENT: it cannot be
 * swept (any more).  Lock held.
 */
static int version_again(struct sweep *s, uint64_t id,
                         struct list_sweep *ret_sweep, struct version **ret)
{
	size_t count;
	const struct link *children = children_of(s, id, &count);
	struct version *v, *child;
	uint64_t xor = 0;
	int r = version_find(s->forest, id, &v);

	if (r < 0)
		return r;
	if (v->refs || !v->freeze || v->children != count || count < 2 ||
	    version_is_held(s->forest, id))
		return -ENOENT;
	for (size_t i = 0; i < count; i++) {
		r = version_find(s->forest, children[i].id, &child);
		if (!r && (child->parent != id ||
		           (!child->refs && !child->children &&
		            !version_is_held(s->forest, child->id))))
			r = -ENOENT;
		if (r < 0)
			return r;
		s->lists[i] = child->tree.list;
		xor ^= child->id;
	}
	if (xor != v->children_xor)
		return -ENOENT;
	*ret_sweep = (struct list_sweep){
	        .owner = v->tree.owner,
	        .above = v->tree.base,
	        .list = v->tree.list,
	        .lists = s->lists,
	        .lists_len = count,
	};
	*ret = v;
	return 0;
}

static int version_hollow(struct version *v)
{
	int r = v->hollow ? 0
	                  : store_set_feature(v->forest->store,
	                                      STORE_FEATURE_HOLLOW, true);

	if (r < 0 || v->hollow)
		return r;
	v->hollow = true;
	v->tree.root = 0;
	version_mark(v);
	return 0;
}

/*
 * Sweep the next blocks of a version.  -EAGAIN: try again after the next
 * commit; -ENOENT: there are no more.  Lock held.
 */
static int sweep_piece(struct sweep *s, uint64_t id, uint64_t *at,
                       struct swept *swept)
{
	struct store *store = s->forest->store;
	uint64_t numbers[SWEEP_MOST], bytes, from = *at;
	size_t count, most = SWEEP_MOST;
	struct list_sweep sweep;
	struct version *v;
	int r = version_again(s, id, &sweep, &v);

	if (!r)
		most = MAX(2 * SWEEP_MOST / sweep.lists_len, 1u);
	while (!r) {
		from = *at;
		r = list_common(store, &sweep, most, &from, numbers, &count,
		                &bytes);
		if (r || !count || s->dry_run)
			break;
		r = list_op_check(store, count * sweep.lists_len, false);
		if (r != -E2BIG)
			break;
		/* A single block is always allowed. */
		r = 0;
		if (most == 1)
			break;
		most /= 2;
	}
	/* A version that is hollow was claimed before. */
	if (!r && count && !s->dry_run && !v->hollow)
		r = store_claim(store, id);
	if (r)
		return r == -EBUSY ? -ENOENT : r;
	swept->was_hollow = swept->version ? swept->was_hollow : v->hollow;
	if (count)
		swept->version = id;
	swept->bytes += bytes;
	if (count && !s->dry_run) {
		r = version_hollow(v);
		if (!r)
			r = list_sweep(store, &sweep, numbers, count);
	}
	if (!r)
		*at = from;
	return r;
}

/* Sweep a version.  swept->version stays 0 if there was nothing to free. */
static int version_sweep(struct sweep *s, uint64_t id, struct swept *swept)
{
	struct store *store = s->forest->store;
	uint32_t blocks = SWEEP_MOST;
	uint64_t at = 0;
	int r = 0;

	while (!r) {
		r = s->dry_run ? 0 : store_pace(store, &blocks);
		if (r < 0)
			return r;
		store_lock(store);
		r = sweep_piece(s, id, &at, swept);
		store_unlock(store);
		if (r == -EAGAIN)
			r = store_sync(store);
		else if (!r)
			r = store_yield(store);
	}
	/* The sweep of the parent reads this version's complete list. */
	if (r == -ENOENT)
		r = swept->version && !s->dry_run ? store_sync(store) : 0;
	return r;
}

/* ---- Forks -------------------------------------------------------------- */

/* Set *ret if version `id` is the given one or an ancestor of it. */
static int version_descends(struct forest *forest, struct version *v,
                            uint64_t id, bool *ret)
{
	int r = 0;

	/* Numbers decrease towards the ancestors. */
	while (!r && v->parent && v->id > id)
		r = version_load(forest, v->parent, &v);
	if (!r)
		*ret = v->id == id;
	return r;
}

/* Collect the forks that were made from the version. */
static int forks_find(struct sweep *s, uint64_t id)
{
	struct forest *forest = s->forest;
	char after[NAME_LEN_MAX + 1] = "";
	struct state *state;
	bool descends;
	int r;

	s->forks_len = 0;
	store_lock(forest->store);
	while (!(r = state_next(forest, 0, after, &state))) {
		uint64_t *number;

		memcpy(after, state->name, sizeof(after));
		r = version_descends(forest, state->version, id, &descends);
		if (r)
			break;
		if (!descends)
			continue;
		number =
		        array_add(&s->forks, &s->forks_len, &s->forks_capacity);
		if (!number) {
			r = -ENOMEM;
			break;
		}
		*number = state->number;
	}
	store_unlock(forest->store);
	return r == -ENOENT ? 0 : r;
}

int forest_sweep(struct forest *forest, bool dry_run,
                 int (*fn)(void *arg, const struct swept *swept), void *arg)
{
	_cleanup_(sweep_release) struct sweep s = {.forest = forest,
	                                           .dry_run = dry_run};
	int r = forest->readonly && !dry_run ? -EROFS : 0;

	/* Finish the deletions: the lists are complete afterwards. */
	if (!r && !dry_run)
		r = forest_drain(forest);
	if (!r && !forest->readonly)
		r = store_sync(forest->store);
	s.lists = calloc(CHILDREN_MOST, sizeof(*s.lists));
	if (!s.lists)
		return -ENOMEM;
	if (!r)
		r = lineage_read(&s);
	for (size_t i = s.candidates_len; !r && i--;) {
		struct swept swept = {0};

		r = version_sweep(&s, s.candidates[i], &swept);
		if (r || !swept.version)
			continue;
		r = forks_find(&s, swept.version);
		swept.forks = s.forks;
		swept.forks_len = s.forks_len;
		if (!r)
			r = fn(arg, &swept);
	}
	return r;
}
