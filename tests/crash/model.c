/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The dumb model, and digests: see model.h. */
#include "model.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#include "util.h"

static void *need(void *p)
{
	if (!p)
		abort();
	return p;
}

struct blob *blob_create(const void *bytes, size_t len)
{
	struct blob *blob = need(calloc(1, sizeof(*blob) + len));

	blob->refs = 1;
	blob->len = len;
	if (bytes)
		memcpy(blob->bytes, bytes, len);
	return blob;
}

struct blob *blob_ref(struct blob *blob)
{
	if (blob)
		blob->refs++;
	return blob;
}

void blob_unref(struct blob *blob)
{
	if (blob && !--blob->refs)
		free(blob);
}

static uint64_t blob_hash(struct blob *blob)
{
	if (!blob)
		return 0;
	if (!blob->hash)
		blob->hash = XXH3_64bits(blob->bytes, blob->len) | 1;
	return blob->hash;
}

/* ---- States ------------------------------------------------------------- */

static void node_release(struct model_node *node)
{
	blob_unref(node->content);
	for (int i = 0; i < MODEL_XATTRS; i++)
		blob_unref(node->xattrs[i]);
}

static void state_destroy(struct model_state *state)
{
	for (size_t i = 0; i < state->nodes_len; i++)
		node_release(&state->nodes[i]);
	free(state->nodes);
	free(state->entries);
	free(state);
}

void model_release(struct model *model)
{
	for (size_t i = 0; i < model->len; i++)
		state_destroy(model->states[i]);
	model->len = 0;
}

static void state_copy(struct model_state *to, const struct model_state *from)
{
	to->nodes_len = to->nodes_room = from->nodes_len;
	to->nodes = need(malloc((from->nodes_len + 1) * sizeof(*to->nodes)));
	memcpy(to->nodes, from->nodes, from->nodes_len * sizeof(*to->nodes));
	for (size_t i = 0; i < to->nodes_len; i++) {
		blob_ref(to->nodes[i].content);
		for (int x = 0; x < MODEL_XATTRS; x++)
			blob_ref(to->nodes[i].xattrs[x]);
	}
	to->entries_len = to->entries_room = from->entries_len;
	to->entries =
	        need(malloc((from->entries_len + 1) * sizeof(*to->entries)));
	if (from->entries_len)
		memcpy(to->entries, from->entries,
		       from->entries_len * sizeof(*to->entries));
}

struct model_state *model_add(struct model *model, const char *name,
                              uint64_t number, uint64_t fork,
                              const struct model_state *from)
{
	struct model_state *state = need(calloc(1, sizeof(*state)));

	snprintf(state->name, sizeof(state->name), "%s", name);
	state->number = number;
	state->fork = fork;
	state->changed = true;
	if (from)
		state_copy(state, from);
	else
		model_make(state, INO_ROOT, S_IFDIR | 0755)->nlink = 2;
	model->states[model->len++] = state;
	return state;
}

void model_remove(struct model *model, size_t index)
{
	state_destroy(model->states[index]);
	model->states[index] = model->states[--model->len];
}

/* ---- Nodes -------------------------------------------------------------- */

struct model_node *model_node(struct model_state *state, uint64_t ino)
{
	for (size_t i = 0; i < state->nodes_len; i++)
		if (state->nodes[i].ino == ino)
			return &state->nodes[i];
	return NULL;
}

struct model_node *model_make(struct model_state *state, uint64_t ino,
                              mode_t mode)
{
	struct model_node *node;

	if (state->nodes_len >= state->nodes_room) {
		state->nodes_room = state->nodes_room * 2 + 8;
		state->nodes = need(
		        realloc(state->nodes,
		                state->nodes_room * sizeof(*state->nodes)));
	}
	node = &state->nodes[state->nodes_len++];
	*node = (struct model_node){.ino = ino, .mode = mode};
	if (!S_ISDIR(mode))
		node->content = blob_create(NULL, 0);
	state->changed = true;
	return node;
}

void model_link(struct model_state *state, uint64_t dir, const char *name,
                uint64_t ino)
{
	struct model_node *node = model_node(state, ino);
	struct model_entry *e;

	if (state->entries_len >= state->entries_room) {
		state->entries_room = state->entries_room * 2 + 8;
		state->entries = need(
		        realloc(state->entries,
		                state->entries_room * sizeof(*state->entries)));
	}
	e = &state->entries[state->entries_len++];
	*e = (struct model_entry){.dir = dir, .ino = ino};
	snprintf(e->name, sizeof(e->name), "%s", name);
	if (S_ISDIR(node->mode)) {
		node->nlink = node->nlink ? node->nlink : 2;
		model_node(state, dir)->nlink++;
	} else {
		node->nlink++;
	}
	state->changed = true;
}

void model_unlink(struct model_state *state, size_t entry)
{
	struct model_entry e = state->entries[entry];
	struct model_node *node = model_node(state, e.ino);

	state->entries[entry] = state->entries[--state->entries_len];
	state->changed = true;
	if (S_ISDIR(node->mode)) {
		model_node(state, e.dir)->nlink--;
		node->nlink = 0;
	} else {
		node->nlink--;
	}
	if (node->nlink)
		return;
	node_release(node);
	*node = state->nodes[--state->nodes_len];
}

bool model_empty(const struct model_state *state, uint64_t dir)
{
	for (size_t i = 0; i < state->entries_len; i++)
		if (state->entries[i].dir == dir)
			return false;
	return true;
}

bool model_below(const struct model_state *state, uint64_t dir, uint64_t ino)
{
	while (ino != dir && ino != INO_ROOT) {
		size_t i = 0;

		while (i < state->entries_len && state->entries[i].ino != ino)
			i++;
		if (i == state->entries_len)
			return false;
		ino = state->entries[i].dir;
	}
	return ino == dir;
}

/* ---- Digests ------------------------------------------------------------ */

/* The digest of all that is visible at one path.  Sums do not depend on order.
 */
struct sight {
	uint64_t path;
	uint64_t ino;
	uint64_t mode, nlink;
	uint64_t len, content;
	uint64_t xattrs[MODEL_XATTRS];
};

static uint64_t sight_digest(const struct sight *sight)
{
	return XXH3_64bits(sight, sizeof(*sight));
}

static uint64_t path_digest(uint64_t dir, const char *name)
{
	return XXH3_64bits_withSeed(name, strlen(name), dir);
}

static uint64_t model_sight(const struct model_node *node, uint64_t path)
{
	struct sight sight = {.path = path,
	                      .ino = node->ino,
	                      .mode = node->mode,
	                      .nlink = node->nlink};

	if (node->content) {
		sight.len = node->content->len;
		sight.content = blob_hash(node->content);
	}
	for (int i = 0; i < MODEL_XATTRS; i++)
		sight.xattrs[i] = blob_hash(node->xattrs[i]);
	return sight_digest(&sight);
}

static uint64_t model_walk(struct model_state *state, uint64_t dir,
                           uint64_t path)
{
	uint64_t sum = model_sight(model_node(state, dir), path);

	for (size_t i = 0; i < state->entries_len; i++) {
		const struct model_entry *e = &state->entries[i];
		uint64_t at = path_digest(path, e->name);
		const struct model_node *node;

		if (e->dir != dir)
			continue;
		node = model_node(state, e->ino);
		sum += S_ISDIR(node->mode) ? model_walk(state, e->ino, at)
		                           : model_sight(node, at);
	}
	return sum;
}

/* The digest of one state. */
static uint64_t state_digest(uint64_t number, uint64_t fork, const char *name,
                             uint64_t tree)
{
	uint64_t all[] = {number, fork, path_digest(0, name), tree};

	return XXH3_64bits(all, sizeof(all));
}

uint64_t model_digest(struct model *model)
{
	uint64_t sum = 0;

	for (size_t i = 0; i < model->len; i++) {
		struct model_state *s = model->states[i];

		if (s->changed)
			s->digest = model_walk(s, INO_ROOT, 1);
		s->changed = false;
		sum += state_digest(s->number, s->fork, s->name, s->digest);
	}
	return sum;
}

/* ---- Of a real store ---------------------------------------------------- */

static int real_content(struct fs *fs, node_t node, const struct stat *st,
                        struct sight *sight)
{
	_cleanup_free_ char *bytes = malloc((size_t)st->st_size + PATH_MAX);
	struct fs_data data;
	size_t at = 0, before;
	int r;

	sight->len = (uint64_t)st->st_size;
	if (S_ISLNK(st->st_mode)) {
		r = fs_readlink(fs, node, bytes);
		if (r)
			return r;
		at = strlen(bytes);
	}
	while (S_ISREG(st->st_mode) && at < sight->len) {
		r = fs_read(fs, node, (off_t)at, sight->len - at, &data);
		if (r)
			return r;
		before = at;
		for (int i = 0; i < data.iov_count; i++) {
			memcpy(bytes + at, data.iov[i].iov_base,
			       data.iov[i].iov_len);
			at += data.iov[i].iov_len;
		}
		fs_data_release(&data);
		if (at == before)
			return -EUCLEAN;
	}
	sight->content = XXH3_64bits(bytes, at) | 1;
	return 0;
}

static int real_xattrs(struct fs *fs, node_t node, struct sight *sight)
{
	_cleanup_free_ uint8_t *value = malloc(XATTR_VALUE_MAX);
	char name[] = "user.0";

	for (int i = 0; i < MODEL_XATTRS; i++) {
		ssize_t n;

		name[5] = (char)('0' + i);
		n = fs_getxattr(fs, node, name, value, XATTR_VALUE_MAX);
		if (n == -ENODATA)
			continue;
		if (n < 0)
			return (int)n;
		sight->xattrs[i] = XXH3_64bits(value, (size_t)n) | 1;
	}
	return 0;
}

struct names {
	char (*at)[MODEL_NAME];
	size_t len;
};

static int names_add(void *arg, const char *name, const struct fs_entry *entry,
                     off_t cookie)
{
	struct names *names = arg;

	(void)entry, (void)cookie;
	if (!strcmp(name, ".") || !strcmp(name, ".."))
		return 0;
	names->at =
	        need(realloc(names->at, (names->len + 1) * sizeof(*names->at)));
	snprintf(names->at[names->len++], MODEL_NAME, "%s", name);
	return 0;
}

static int real_walk(struct fs *fs, node_t node, uint64_t path,
                     uint64_t *ret_sum)
{
	struct sight sight = {.path = path, .ino = NODE_INO(node)};
	struct names names = {0};
	struct stat st;
	uint64_t sum;
	int r = fs_getattr(fs, node, &st);

	if (r)
		return r;
	sight.mode = st.st_mode;
	sight.nlink = st.st_nlink;
	if (!S_ISDIR(st.st_mode))
		r = real_content(fs, node, &st, &sight);
	if (!r)
		r = real_xattrs(fs, node, &sight);
	sum = sight_digest(&sight);
	if (!r && S_ISDIR(st.st_mode))
		r = fs_readdir(fs, node, 0, false, SNAPDIR_DISABLED, names_add,
		               &names);
	for (size_t i = 0; !r && i < names.len; i++) {
		struct fs_entry entry;
		uint64_t more = 0;

		r = fs_lookup(fs, node, names.at[i], SNAPDIR_DISABLED, &entry);
		if (!r)
			r = real_walk(fs, entry.node,
			              path_digest(path, names.at[i]), &more);
		sum += more;
	}
	free(names.at);
	if (!r)
		*ret_sum = sum;
	return r;
}

/* All states of a fork (0: all forks), and of each their snapshots. */
static int real_states(struct fs *fs, uint64_t fork, uint64_t *sum)
{
	struct forest *forest = fs_forest(fs);
	char after[NAME_LEN_MAX + 1] = "";
	int r;

	for (;;) {
		struct state *state;
		uint64_t number, tree;

		store_lock(forest_store(forest));
		r = state_next(forest, fork, after, &state);
		if (!r) {
			number = state->number;
			memcpy(after, state->name, sizeof(after));
		}
		store_unlock(forest_store(forest));
		if (r)
			return r == -ENOENT ? 0 : r;
		r = real_walk(fs, NODE(number, INO_ROOT), 1, &tree);
		if (!r)
			*sum += state_digest(number, fork, after, tree);
		if (!r && !fork)
			r = real_states(fs, number, sum);
		if (r)
			return r;
	}
}

int real_digest(struct fs *fs, uint64_t *ret_digest)
{
	uint64_t sum = 0;
	int r = real_states(fs, 0, &sum);

	if (!r)
		*ret_digest = sum;
	return r;
}
