/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What has no name any more but still takes space: inodes that were unlinked,
 * and the tails of files that were truncated.  An ORPHAN item names the inode
 * from the moment it is so until the last of it is freed, in the same sets of
 * changes, and a record in TABLE_ORPHAN names the state: a crash loses none.
 *
 * A fork inherits the orphans of its source, where nobody has them open.  They
 * are removed in the background, but not as long as the fork is redundant:
 * its tree would no longer be that of the state it equals, which would both
 * cost space and keep rmdir from deleting it.
 */
#include "inode.h"

#include <errno.h>
#include <sched.h>

enum { LAZY_SECONDS = 5, LAZY_SECONDS_MAX = 60 };

/* ---- Open nodes --------------------------------------------------------- */

static size_t open_bucket(const struct fs *fs, node_t node)
{
	return (node * UINT64_C(0x9e3779b97f4a7c15)) >> 32 &
	       (fs->open_buckets - 1);
}

struct open_node *open_find(struct fs *fs, node_t node)
{
	struct open_node *o;

	if (!fs->open_buckets)
		return NULL;
	for (o = fs->opens[open_bucket(fs, node)]; o; o = o->next)
		if (o->node == node)
			return o;
	return NULL;
}

static int open_grow(struct fs *fs)
{
	size_t old_count = fs->open_buckets;
	struct open_node **old = fs->opens;
	size_t count = old_count ? 2 * old_count : 64;
	struct open_node **buckets = calloc(count, sizeof(struct open_node *));

	if (!buckets)
		return -ENOMEM;
	fs->opens = buckets;
	fs->open_buckets = count;
	for (size_t i = 0; i < old_count; i++) {
		while (old[i]) {
			struct open_node *o = old[i];
			size_t b = open_bucket(fs, o->node);

			old[i] = o->next;
			o->next = buckets[b];
			buckets[b] = o;
		}
	}
	free(old);
	return 0;
}

int open_add(struct fs *fs, node_t node, bool orphan)
{
	struct open_node *o = open_find(fs, node);
	size_t b;

	if (o) {
		o->count++;
		return 0;
	}
	if (fs->open_count >= fs->open_buckets && open_grow(fs))
		return -ENOMEM;
	o = malloc(sizeof(*o));
	if (!o)
		return -ENOMEM;
	b = open_bucket(fs, node);
	*o = (struct open_node){fs->opens[b], node, 1, orphan};
	fs->opens[b] = o;
	fs->open_count++;
	return 0;
}

/* True when that was the last and the inode has no name. */
static bool open_drop(struct fs *fs, node_t node)
{
	struct open_node **at, *o;
	bool orphan;

	if (!fs->open_buckets)
		return false;
	for (at = &fs->opens[open_bucket(fs, node)]; *at; at = &(*at)->next)
		if ((*at)->node == node)
			break;
	o = *at;
	if (!o || --o->count)
		return false;
	*at = o->next;
	orphan = o->orphan;
	free(o);
	fs->open_count--;
	return orphan;
}

void fs_release(struct fs *fs, node_t node)
{
	bool orphan;
	int err;

	if (node_kind(node) != NODE_KIND_INODE)
		return;
	store_lock(fs->store);
	orphan = open_drop(fs, node);
	store_unlock(fs->store);
	if (!orphan)
		return;
	err = orphan_finish(fs, node);
	if (err)
		log_warning("cannot delete inode %llu of state %llu yet: %s",
		            (unsigned long long)NODE_INO(node),
		            (unsigned long long)NODE_STATE(node),
		            strerror(-err));
}

/* ---- Orphans ------------------------------------------------------------ */

static struct key orphan_key(uint64_t ino)
{
	return (struct key){.ino = 0, .kind = ITEM_ORPHAN, .off = ino};
}

static int orphan_record(struct fs *fs, uint64_t state, bool there)
{
	uint8_t key[8];

	be64_put(key, state);
	if (there)
		return table_put(fs->store, TABLE_ORPHAN, key, 8, NULL, 0);
	return table_del(fs->store, TABLE_ORPHAN, key, 8);
}

static bool orphan_first(struct tree *tree, uint64_t from, uint64_t *ret_ino)
{
	struct key key = orphan_key(from);
	struct item item;

	if (tree_seek(tree, &key, &item) || item.key.ino ||
	    item.key.kind != ITEM_ORPHAN)
		return false;
	*ret_ino = item.key.off;
	return true;
}

int orphan_add(struct vnode *v)
{
	struct key key = orphan_key(v->ino);
	int err = orphan_record(v->fs, v->state->number, true);

	return err ? err : tree_put(v->tree, &key, NULL, 0);
}

static int orphan_del_at(struct fs *fs, struct state *state, struct tree *tree,
                         uint64_t ino)
{
	struct key key = orphan_key(ino);
	uint64_t other;
	int err = tree_del(tree, &key);

	if (err)
		return err == -ENOENT ? 0 : err;
	if (orphan_first(tree, 0, &other))
		return 0;
	return orphan_record(fs, state->number, false);
}

int orphan_del(struct vnode *v)
{
	return orphan_del_at(v->fs, v->state, v->tree, v->ino);
}

/* Remove an inode with no name and all its items.  -EAGAIN: there are more. */
static int vnode_reap(struct vnode *v, unsigned budget)
{
	struct key key = {.ino = v->ino, .kind = ITEM_INODE};
	struct key next = {.ino = v->ino, .kind = ITEM_INODE + 1};
	struct item item;
	uint64_t chunk;
	int err = ext_cut(v, 0, budget);

	if (err)
		return err;
	while (!(err = tree_seek(v->tree, &next, &item)) &&
	       item.key.ino == v->ino) {
		struct key found = item.key;

		if (!budget--) {
			err = vnode_store(v);
			return err ? err : -EAGAIN;
		}
		chunk = item_chunk(&item);
		err = tree_del(v->tree, &found);
		if (err)
			return err;
		if (chunk)
			tree_drop(v->tree, chunk);
		v->inode.xattrs -= found.kind == ITEM_XATTR;
	}
	if (err && err != -ENOENT)
		return err;
	err = tree_del(v->tree, &key);
	if (!err)
		v->state->version->inodes--;
	return err;
}

int vnode_unlinked(struct vnode *v)
{
	struct open_node *o = open_find(v->fs, vnode_node(v));
	int err, kept;

	if (o) {
		err = orphan_add(v);
		if (!err)
			err = vnode_store(v);
		o->orphan = !err;
		return err;
	}
	err = vnode_reap(v, PIECE_ITEMS);
	if (err != -EAGAIN)
		return err;
	kept = orphan_add(v);
	return kept ? kept : -EAGAIN;
}

static int orphan_piece(struct fs *fs, node_t node)
{
	struct vnode v;
	int err = vnode_load_rw(fs, node, &v);

	if (!err)
		err = vnode_begin(&v);
	if (err)
		return err;
	if (v.inode.nlink || open_find(fs, node)) {
		uint64_t size = v.inode.size;

		err = ext_cut(&v, (size + fs->chunk_size - 1) >> fs->chunk_bits,
		              PIECE_ITEMS);
		return err || !v.inode.nlink ? err : orphan_del(&v);
	}
	err = vnode_reap(&v, PIECE_ITEMS);
	return err ? err : orphan_del(&v);
}

int orphan_finish(struct fs *fs, node_t node)
{
	int err;

	do {
		err = store_throttle(fs->store, false);
		if (err)
			return err;
		store_lock(fs->store);
		err = orphan_piece(fs, node);
		store_unlock(fs->store);
		if (err == -EAGAIN)
			sched_yield();
	} while (err == -EAGAIN);
	/* Gone already, with its state or by another's hand. */
	return err == -ESTALE ? 0 : err;
}

void fs_adopt(struct fs *fs, struct state *state)
{
	uint64_t ino;

	if ((state->flags & STATE_READONLY) ||
	    !orphan_first(&state->version->tree, 0, &ino))
		return;
	if (orphan_record(fs, state->number, true) ||
	    sweeper_push(fs, state->number))
		log_warning("state %s keeps unlinked files", state->name);
}

/* ---- In the background -------------------------------------------------- */

enum sweep { SWEEP_DONE, SWEEP_LATER, SWEEP_ONE };

/* What to do next in the state: the first orphan from *ino on, if any. */
static enum sweep sweep_next(struct fs *fs, uint64_t number, uint64_t *ino)
{
	struct state *state;
	struct open_node *o;
	int err = state_get(fs->forest, number, &state);

	if (err == -ESTALE || (!err && (state->flags & STATE_READONLY))) {
		orphan_record(fs, number, false);
		return SWEEP_DONE;
	}
	if (err || state_is_redundant(fs->forest, state))
		return SWEEP_LATER;
	while (orphan_first(&state->version->tree, *ino, ino)) {
		o = open_find(fs, NODE(number, *ino));
		if (!o)
			return SWEEP_ONE;
		o->orphan = true;
		++*ino;
	}
	if (!orphan_first(&state->version->tree, 0, ino))
		orphan_record(fs, number, false);
	return SWEEP_DONE;
}

/* An ORPHAN item whose inode is not there. */
static int sweep_stray(struct fs *fs, uint64_t number, uint64_t ino)
{
	struct state *state;
	struct tree *tree;
	struct inode inode;
	int err;

	store_lock(fs->store);
	err = state_get(fs->forest, number, &state);
	if (!err && inode_load(&state->version->tree, ino, &inode) == -ENOENT) {
		err = state_edit(state, &tree);
		if (!err)
			err = orphan_del_at(fs, state, tree, ino);
	}
	store_unlock(fs->store);
	return err;
}

static bool sweep_state(struct fs *fs, uint64_t number)
{
	uint64_t ino = 0;
	enum sweep next;
	int err;

	for (;;) {
		store_lock(fs->store);
		next = sweep_next(fs, number, &ino);
		store_unlock(fs->store);
		if (next != SWEEP_ONE)
			return next == SWEEP_DONE;
		err = orphan_finish(fs, NODE(number, ino));
		if (!err)
			err = sweep_stray(fs, number, ino);
		if (err) {
			log_warning("cannot delete inode %llu of state %llu "
			            "yet: %s",
			            (unsigned long long)ino,
			            (unsigned long long)number, strerror(-err));
			return false;
		}
		ino++;
	}
}

/* Takes the list away; the lock of the sweeper is held, and let go of. */
static void sweeper_round(struct fs *fs)
{
	struct sweeper *s = &fs->sweeper;
	_cleanup_free_ uint64_t *states = steal(&s->states);
	size_t count = s->count;

	s->count = s->room = 0;
	for (size_t i = 0; i < count; i++) {
		bool done, stop = s->stop;

		pthread_mutex_unlock(&s->lock);
		done = stop || sweep_state(fs, states[i]);
		if (!done)
			sweeper_push(fs, states[i]);
		pthread_mutex_lock(&s->lock);
	}
}

static void *sweeper_run(void *arg)
{
	struct fs *fs = arg;
	struct sweeper *s = &fs->sweeper;
	unsigned wait = LAZY_SECONDS;
	struct timespec until;

	pthread_mutex_lock(&s->lock);
	while (!s->stop) {
		uint64_t asked = s->asked;

		sweeper_round(fs);
		s->done = asked;
		pthread_cond_broadcast(&s->idle);
		clock_gettime(CLOCK_MONOTONIC, &until);
		until.tv_sec += wait;
		wait = MIN(2 * wait, LAZY_SECONDS_MAX);
		while (!s->stop && s->asked == asked) {
			if (!s->count)
				pthread_cond_wait(&s->wake, &s->lock);
			else if (pthread_cond_timedwait(&s->wake, &s->lock,
			                                &until))
				break;
		}
		if (s->asked != asked)
			wait = LAZY_SECONDS;
	}
	pthread_mutex_unlock(&s->lock);
	return NULL;
}

int sweeper_push(struct fs *fs, uint64_t state)
{
	struct sweeper *s = &fs->sweeper;
	int err = 0;

	pthread_mutex_lock(&s->lock);
	if (s->count == s->room) {
		size_t room = s->room ? 2 * s->room : 16;
		uint64_t *states = realloc(s->states, room * sizeof(*states));

		if (states) {
			s->states = states;
			s->room = room;
		} else {
			err = -ENOMEM;
		}
	}
	if (!err) {
		s->states[s->count++] = state;
		/* Its own putting off does not wake the sweeper. */
		if (!s->started || !pthread_equal(pthread_self(), s->thread)) {
			s->asked++;
			pthread_cond_signal(&s->wake);
		}
	}
	pthread_mutex_unlock(&s->lock);
	return err;
}

void sweeper_drain(struct fs *fs)
{
	struct sweeper *s = &fs->sweeper;
	uint64_t asked;

	pthread_mutex_lock(&s->lock);
	asked = ++s->asked;
	pthread_cond_signal(&s->wake);
	while (s->started && s->done < asked)
		pthread_cond_wait(&s->idle, &s->lock);
	pthread_mutex_unlock(&s->lock);
}

int sweeper_start(struct fs *fs)
{
	struct sweeper *s = &fs->sweeper;
	pthread_condattr_t attr;
	int err;

	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_mutex_init(&s->lock, NULL);
	pthread_cond_init(&s->wake, &attr);
	pthread_cond_init(&s->idle, NULL);
	pthread_condattr_destroy(&attr);
	/* The thread looks at its own id: not before it is written. */
	pthread_mutex_lock(&s->lock);
	err = -pthread_create(&s->thread, NULL, sweeper_run, fs);
	s->started = !err;
	pthread_mutex_unlock(&s->lock);
	return err;
}

void sweeper_stop(struct fs *fs)
{
	struct sweeper *s = &fs->sweeper;

	if (!s->started)
		return;
	pthread_mutex_lock(&s->lock);
	s->stop = true;
	pthread_cond_signal(&s->wake);
	pthread_mutex_unlock(&s->lock);
	pthread_join(s->thread, NULL);
	pthread_mutex_destroy(&s->lock);
	pthread_cond_destroy(&s->wake);
	pthread_cond_destroy(&s->idle);
	free(s->states);
	s->started = false;
}
