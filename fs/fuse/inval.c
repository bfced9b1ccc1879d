/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Collecting and sending invalidations.
 */
#include "inval.h"

#include <errno.h>
#include <stdlib.h>

#include "util.h"

enum {
	SETTLE_NAMES = 32, /* names of an inode that are invalidated */
	SCAN_MAX = 64,     /* pending invalidations checked for merging */
};

/* ---- Changes ------------------------------------------------------------ */

static struct change_node *add_node(struct changes *changes, node_t node)
{
	struct change_node *at = &changes->nodes[changes->node_count];

	if (!node || changes->node_count == CHANGES_NODES)
		return NULL;
	changes->node_count++;
	*at = (struct change_node){.node = node};
	return at;
}

void changes_attrs(struct changes *changes, node_t node)
{
	add_node(changes, node);
}

void changes_data(struct changes *changes, node_t node, uint64_t off,
                  uint64_t len)
{
	struct change_node *at = add_node(changes, node);

	if (!at)
		return;
	at->data = true;
	at->off = off;
	at->len = len;
}

void changes_name(struct changes *changes, node_t parent, const char *name,
                  node_t child)
{
	if (changes->name_count < CHANGES_NAMES)
		changes->names[changes->name_count++] =
		        (struct change_name){parent, child, name};
}

/* ---- Collecting --------------------------------------------------------- */

static void add_waiter(struct invals *invals, struct inval *inval)
{
	struct waiter *waiter = calloc(1, sizeof(*waiter));

	if (!waiter) {
		log_error("cannot wait for an invalidation: out of memory");
		return;
	}
	waiter->inval = inval;
	waiter->next = invals->waiters;
	invals->waiters = waiter;
}

/*
 * Add an invalidation and a waiter for it.  Names have a separate queue, which
 * invalidations that must come after them use, too: a process may hold a
 * directory's lock while it waits for a file's lock, which a write may hold
 * whose reply waits for pages.
 */
static struct inval *add_inval(struct invals *invals, struct session *session,
                               enum inval_kind kind, node_t node,
                               const char *name)
{
	size_t len = name ? strlen(name) + 1 : 0;
	struct inval *inval;

	/* The session hangs, which was logged. */
	if (session->invals_count > INVALS_MAX)
		return NULL;
	inval = calloc(1, sizeof(*inval) + len);

	if (!inval) {
		log_error("cannot invalidate the cache of a mount: "
		          "out of memory");
		return NULL;
	}
	session_ref(session);
	inval->session = session;
	inval->kind = kind;
	inval->names = kind == INVAL_NAME;
	inval->node = node;
	if (name)
		memcpy(inval->name, name, len);
	*invals->last = inval;
	invals->last = &inval->next;
	add_waiter(invals, inval);
	return inval;
}

/*
 * Find a pending invalidation of the kind for the node that has not been
 * started, and wait for it: it can cover another change.  Without such merging
 * the queue of a mount would grow as long as changes come faster than the
 * mount's kernel handles invalidations.
 */
static struct inval *find_pending(struct invals *invals,
                                  struct session *session, enum inval_kind kind,
                                  node_t node)
{
	struct inval *at = session->invals_newest;
	unsigned left = SCAN_MAX;

	while (at && left &&
	       (at->started || at->names || at->first || at->kind != kind ||
	        at->node != node)) {
		at = at->older;
		left--;
	}
	if (!at || !left)
		return NULL;
	add_waiter(invals, at);
	return at;
}

/*
 * Invalidate the attributes of a node that is on the way to the kernel in a
 * reply.  A lookup holds the parent's lock until the inode exists.
 * Invalidating the node's names waits for that lock; the attributes follow in
 * the same queue.
 */
static void add_settling(struct invals *invals, struct session *session,
                         node_t node)
{
	struct fs_name names[SETTLE_NAMES];
	size_t count = fs_names(session->fs, node, names, ARRAY_SIZE(names));
	struct inval *inval;

	for (size_t i = 0; i < count; i++) {
		if (!lookups_has(session->lookups, names[i].parent))
			continue;
		inval = add_inval(invals, session, INVAL_NAME, names[i].parent,
		                  names[i].name);
		if (inval)
			inval->expire = true;
	}
	/* A removed name is in the queue before this. */
	inval = add_inval(invals, session, INVAL_ATTRS, node, NULL);
	if (inval)
		inval->names = true;
}

/* Invalidate attributes without waiting; workers may call this. */
static void inval_attrs_now(struct invals *invals, struct session *session,
                            node_t node)
{
	if (protocol_inval_inode(session->fd, session_ino(session, node), -1,
	                         0) == -ENOENT)
		add_settling(invals, session, node);
}

/* Wait for pending invalidations of the node by other changes. */
static void add_barriers(struct invals *invals, struct session *session,
                         node_t node)
{
	/* A session with a longer queue is not waited for. */
	if (session->invals_count > INVALS_LONG)
		return;
	for (struct inval *at = session->invals_newest; at; at = at->older) {
		if (at->node == node)
			add_waiter(invals, at);
	}
}

static bool reaches(const struct session *session, node_t node)
{
	return !session->state || session->state == NODE_STATE(node);
}

static bool needs_tail(const struct changes *changes,
                       const struct session *session, node_t node)
{
	return (session != changes->session || changes->own_size) &&
	       reaches(session, node) &&
	       lookups_is_open(session->lookups, node);
}

/*
 * A kernel that has the file open gets a greater size only by a notification or
 * by requesting the attributes; until then it refuses to map or to copy bytes
 * beyond the size it has.  The pages are marked before the byte is read, so
 * that a later change invalidates them.
 */
struct tail inval_tail(const struct changes *changes,
                       const struct change_node *change)
{
	struct fs *fs = changes->mounts->fs;
	struct tail tail = {0};
	struct fs_data data;
	bool needed = false;
	struct stat st;

	for (struct session *s = changes->mounts->first; s && !needed;
	     s = s->next)
		needed = needs_tail(changes, s, change->node);
	if (!needed || fs_getattr(fs, change->node, &st) || !st.st_size ||
	    (change->len && change->off + change->len < (uint64_t)st.st_size))
		return tail;
	for (struct session *s = changes->mounts->first; s; s = s->next)
		if (needs_tail(changes, s, change->node))
			lookups_mark(s->lookups, change->node, CACHED_PAGES);
	tail.off = (uint64_t)st.st_size - 1;
	if (fs_read(fs, change->node, (off_t)tail.off, 1, &data))
		return tail;
	if (data.len == 1) {
		tail.byte = *(uint8_t *)data.iov[0].iov_base;
		tail.valid = true;
	}
	fs_data_release(&data);
	return tail;
}

static void add_tail(struct invals *invals, struct session *session,
                     node_t node, const struct tail *tail)
{
	struct inval *inval = find_pending(invals, session, INVAL_SIZE, node);

	/* Two changes may have read the end in the other order. */
	if (inval && inval->off >= tail->off)
		return;
	if (!inval)
		inval = add_inval(invals, session, INVAL_SIZE, node, NULL);
	if (!inval)
		return;
	inval->off = tail->off;
	inval->byte = tail->byte;
}

/* Extend the range; len 0: to the end. */
static void add_range(struct inval *inval, uint64_t off, uint64_t len)
{
	uint64_t end =
	        inval->len && len ? MAX(inval->off + inval->len, off + len) : 0;

	inval->off = MIN(inval->off, off);
	inval->len = end ? end - inval->off : 0;
}

/* Invalidate a range of a file; len 0: to the end. */
static void add_pages(struct invals *invals, struct session *session,
                      node_t node, uint64_t off, uint64_t len)
{
	struct inval *inval = find_pending(invals, session, INVAL_PAGES, node);

	if (inval) {
		add_range(inval, off, len);
		return;
	}
	inval = add_inval(invals, session, INVAL_PAGES, node, NULL);
	if (inval) {
		inval->off = off;
		inval->len = len;
	}
}

/* Invalidate a range, without the pages that the request holds. */
static void add_first(struct invals *invals, const struct changes *changes,
                      node_t node, uint64_t off, uint64_t len)
{
	uint64_t end = len ? off + len : 0; /* 0: the file's */
	struct {
		uint64_t off, end;
	} parts[] = {
	        {off, end ? MIN(end, changes->held) : changes->held},
	        {MAX(off, changes->held_end), end},
	};

	for (size_t i = 0; i < ARRAY_SIZE(parts); i++) {
		struct inval *inval;

		/* Only the second part may reach to the end of the file. */
		if (parts[i].off >= parts[i].end && (i == 0 || parts[i].end))
			continue;
		inval = add_inval(invals, changes->session, INVAL_PAGES, node,
		                  NULL);
		if (!inval)
			continue;
		inval->first = true;
		inval->off = parts[i].off;
		inval->len = parts[i].end ? parts[i].end - parts[i].off : 0;
	}
}

/* Collect the invalidations for a node; attrs: of its attributes, too. */
static void collect_node(struct invals *invals, struct session *session,
                         const struct changes *changes,
                         const struct change_node *change, bool attrs)
{
	unsigned what = (attrs ? CACHED_ATTRS : 0) |
	                (change->data ? CACHED_PAGES : 0) |
	                (change->data && !change->len ? CACHED_END : 0);
	unsigned taken = lookups_take(session->lookups, change->node, what);
	bool whole = taken & CACHED_WHOLE;
	uint64_t off = whole ? 0 : change->off, len = whole ? 0 : change->len;

	if (taken & CACHED_ATTRS)
		inval_attrs_now(invals, session, change->node);
	if (!(taken & CACHED_PAGES))
		add_barriers(invals, session, change->node);
	else if (session == changes->session && changes->own_first)
		add_first(invals, changes, change->node, off, len);
	else
		add_pages(invals, session, change->node, off, len);
}

/*
 * Pending invalidations, not started, of a name and of its directory's listing.
 */
struct pending_name {
	struct inval *name, *listing;
};

static struct pending_name find_name(struct session *session,
                                     const struct change_name *change,
                                     bool gently)
{
	struct pending_name found = {0};
	unsigned left = SCAN_MAX;

	for (struct inval *at = session->invals_newest; at && left--;
	     at = at->older) {
		if (at->started || !at->names || at->node != change->parent)
			continue;
		if (at->kind == INVAL_PAGES && !found.listing)
			found.listing = at;
		if (at->kind == INVAL_NAME && at->expire == gently &&
		    strcmp(at->name, change->name) == 0) {
			found.name = at;
			return found;
		}
	}
	return found;
}

/*
 * Add an invalidation of a name.  gently: keep mounts below the name as long as
 * it has the same node.  listing: invalidate the directory's pages, too.
 */
static void add_name(struct invals *invals, struct session *session,
                     const struct change_name *change, bool gently,
                     bool listing)
{
	struct pending_name pending = find_name(session, change, gently);
	struct inval *inval;

	if (pending.name && (pending.listing || !listing)) {
		add_waiter(invals, pending.name);
		if (pending.listing)
			add_waiter(invals, pending.listing);
		return;
	}
	inval = add_inval(invals, session, INVAL_NAME, change->parent,
	                  change->name);
	if (inval)
		inval->expire = gently;
	if (!listing)
		return;
	inval = add_inval(invals, session, INVAL_PAGES, change->parent, NULL);
	if (inval)
		inval->names = true;
}

/*
 * Collect the invalidations for a name.  The invalidation of the name waits for
 * all processes that are reading the directory; the invalidation of the pages
 * follows it and so includes what these processes have cached.
 */
static void collect_name(struct invals *invals, struct session *session,
                         const struct change_name *change, bool gently)
{
	bool cached, listing;
	unsigned taken;

	if (!lookups_has(session->lookups, change->parent))
		return;
	cached = negatives_take(session->negatives, change->parent,
	                        change->name);
	if (change->child && lookups_has(session->lookups, change->child))
		cached = true;
	taken = lookups_take(session->lookups, change->parent,
	                     CACHED_ATTRS | CACHED_PAGES | CACHED_WHOLE);
	listing = taken & CACHED_PAGES;
	if (cached || listing)
		add_name(invals, session, change, gently, listing);
	else
		add_barriers(invals, session, change->parent);
	if (taken & CACHED_ATTRS)
		inval_attrs_now(invals, session, change->parent);
}

static void collect_in(struct invals *invals, struct session *session,
                       const struct changes *changes, const struct tail *tails)
{
	bool attrs = session != changes->session || changes->own;

	for (unsigned i = 0; i < changes->name_count; i++) {
		if (reaches(session, changes->names[i].parent))
			collect_name(invals, session, &changes->names[i],
			             changes->fresh);
	}
	for (unsigned i = 0; i < changes->node_count; i++) {
		node_t node = changes->nodes[i].node;

		if (!reaches(session, node))
			continue;
		if (!changes->barrier)
			collect_node(invals, session, changes,
			             &changes->nodes[i], attrs);
		if (tails[i].valid && needs_tail(changes, session, node))
			add_tail(invals, session, node, &tails[i]);
		if (changes->barrier)
			add_barriers(invals, session, node);
	}
}

/*
 * Return true if a lookup through the session may have missed one of the
 * changes.
 */
static bool reaches_any(const struct session *session,
                        const struct changes *changes)
{
	for (unsigned i = 0; i < changes->name_count; i++) {
		if (reaches(session, changes->names[i].parent))
			return true;
	}
	for (unsigned i = 0; i < changes->node_count; i++) {
		if (!changes->barrier &&
		    reaches(session, changes->nodes[i].node))
			return true;
	}
	return false;
}

/* coherence.lock and policy held. */
void inval_collect(struct invals *invals, const struct changes *changes,
                   const struct tail *tails)
{
	struct mounts *mounts = changes->mounts;

	for (struct session *s = mounts->first; s; s = s->next) {
		if (s != changes->session && reaches_any(s, changes))
			atomic_fetch_add(&s->epoch, 1);
		if (s != changes->session || changes->own || changes->own_pages)
			collect_in(invals, s, changes, tails);
	}
}

/* ---- Deleted states, and symlinks to states ----------------------------- */

static bool is_gone(struct fs *fs, uint64_t number)
{
	struct forest *forest = fs_forest(fs);
	struct state *state;
	int err;

	if (!number)
		return false;
	store_lock(forest_store(forest));
	err = state_get(forest, number, &state);
	store_unlock(forest_store(forest));
	return err == -ESTALE;
}

/* Invalidate the symlinks to snapshots in the root directory. */
static void add_links(struct invals *invals, struct session *session)
{
	_cleanup_free_ node_t *nodes = NULL;
	size_t count = 0;

	if (lookups_list(session->lookups, 0, &nodes, &count) < 0) {
		log_error(
		        "cannot invalidate a state in a mount: out of memory");
		return;
	}
	for (size_t i = 0; i < count; i++) {
		if (NODE_INO(nodes[i]) >= NODE_LINK_FIRST)
			add_inval(invals, session, INVAL_PAGES, nodes[i], NULL);
	}
}

/* Add the nodes of deleted states that the session has open. */
static void collect_gone(struct invals *invals, struct session *session)
{
	_cleanup_free_ uint64_t *states = NULL;
	size_t count = 0;

	if (lookups_states(session->lookups, true, &states, &count) < 0)
		return;
	for (size_t i = 0; i < count; i++) {
		if (is_gone(session->fs, states[i]))
			add_inval(invals, session, INVAL_STATE,
			          NODE(states[i], INO_ROOT), NULL);
	}
}

/* Add the symlinks to snapshots in a .snap below a root: see previous.h. */
static void collect_virtual(struct invals *invals, struct session *session)
{
	_cleanup_free_ uint64_t *states = NULL;
	size_t count = 0;

	if (!lookups_virtual(session->lookups) ||
	    lookups_states(session->lookups, false, &states, &count) < 0)
		return;
	for (size_t i = 0; i < count; i++) {
		_cleanup_free_ node_t *nodes = NULL;
		size_t n = 0;

		if (lookups_list(session->lookups, states[i], &nodes, &n) < 0)
			continue;
		for (size_t j = 0; j < n; j++)
			if (nodes[j] & NODE_VIRTUAL)
				add_inval(invals, session, INVAL_PAGES,
				          nodes[j], NULL);
	}
}

/* Policy held. */
void inval_collect_states(struct invals *invals, const struct changes *changes)
{
	for (struct session *s = changes->mounts->first; s; s = s->next) {
		if (changes->gone)
			collect_gone(invals, s);
		/* The symlinks to snapshots are nodes of state 0. */
		if (changes->links && !s->state)
			add_links(invals, s);
		if (changes->links)
			collect_virtual(invals, s);
	}
}

/*
 * Attributes suffice: the pages of a file that is not open are only reached by
 * open(2), for which the kernel requests the attributes, and the request fails.
 */
int inval_forget_gone(void *arg, struct session *session)
{
	_cleanup_free_ uint64_t *states = NULL;
	size_t count = 0;

	if (lookups_states(session->lookups, false, &states, &count) < 0)
		return 0;
	for (size_t i = 0; i < count; i++) {
		_cleanup_free_ node_t *nodes = NULL;
		size_t n = 0;

		if (!is_gone(session->fs, states[i]) ||
		    lookups_list(session->lookups, states[i], &nodes, &n))
			continue;
		for (size_t j = 0; j < n; j++)
			protocol_inval_inode(session->fd,
			                     session_ino(session, nodes[j]), -1,
			                     0);
	}
	return 0;
}

/* ---- Sending ------------------------------------------------------------ */

static void notify_state(const struct session *session, uint64_t state, int fd)
{
	_cleanup_free_ node_t *nodes = NULL;
	size_t count = 0;

	/* Nothing can be logged here: see notifier.h. */
	if (lookups_take_open(session->lookups, state, &nodes, &count) < 0)
		return;
	for (size_t i = 0; i < count; i++)
		protocol_inval_inode(fd, session_ino(session, nodes[i]), 0, 0);
}

void inval_notify(const struct inval *inval, int fd)
{
	const struct session *session = inval->session;
	uint64_t ino = session_ino(session, inval->node);

	switch (inval->kind) {
	case INVAL_PAGES:
		protocol_inval_inode(fd, ino, (int64_t)inval->off,
		                     (int64_t)inval->len);
		break;
	case INVAL_ATTRS:
		protocol_inval_inode(fd, ino, -1, 0);
		break;
	case INVAL_NAME:
		/* Kernels expire names since protocol 7.38. */
		protocol_inval_entry(fd, ino, inval->name,
		                     inval->expire &&
		                             session->protocol.minor >= 38);
		break;
	case INVAL_SIZE:
		protocol_store_byte(fd, ino, inval->off, inval->byte);
		/* The byte served to set the size. */
		protocol_inval_inode(fd, ino, (int64_t)inval->off, 1);
		break;
	case INVAL_STATE:
		notify_state(session, NODE_STATE(inval->node), fd);
		break;
	}
}
