/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Imports: receiving frames, carrying them out in pieces, and the one step that
 * changes the fork.
 *
 * The frames of a piece are decoded, and their chunks are made, without the
 * lock.
 */
#include "import.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/socket.h>

#include "extent.h"
#include "import_tree.h"
#include "prepared.h"
#include "state_change.h"

enum {
	PIECE_BYTES = 1 << 20, /* about the most bytes of frames in a piece */
	BUFFER_FIRST = 2 << 20,
	ANSWERS_MAX =
	        IMPORT_PIECE * (IMPORT_ENTRIES_MAX + 1) + IMPORT_HELLO_LEN,
};

/* A decoded frame.  `kind` determines which fields are set. */
struct frame {
	enum import_kind kind;
	struct reader body;
	uint64_t dir, parent;
	unsigned flags;
	char name[NAME_LEN_MAX + 1];
	struct import_attr attr;
	struct import_bytes xattrs;
	struct import_data data;
	uint64_t size;
};

struct receiver {
	struct importing im;
	int socket;
	uint8_t *buffer; /* received bytes; `start` to `end` are not decoded */
	size_t room, start, end;
	struct frame frames[IMPORT_PIECE];
	size_t count;
	uint8_t answers[ANSWERS_MAX];
	size_t answers_len;
	bool begun;    /* the top's DIR was received */
	bool complete; /* COMMIT was received */
};

/* ---- Receiving ---------------------------------------------------------- */

/* Return the length of the next frame with its head; 0: not complete. */
static size_t frame_len(const struct receiver *r, size_t at)
{
	size_t left = r->end - at;
	size_t len =
	        left < IMPORT_HEAD ? 0 : IMPORT_HEAD + be32_get(r->buffer + at);

	return len <= left ? len : 0;
}

/* Wait for more bytes, and append them to the buffer. */
static int receive_more(struct receiver *r)
{
	ssize_t n;

	if (r->start) {
		memmove(r->buffer, r->buffer + r->start, r->end - r->start);
		r->end -= r->start;
		r->start = 0;
	}
	if (r->end >= IMPORT_HEAD && be32_get(r->buffer) > IMPORT_FRAME_MAX)
		return -EPROTO;
	if (r->end == r->room) {
		uint8_t *more = realloc(r->buffer, 2 * r->room);

		if (!more)
			return -ENOMEM;
		r->buffer = more;
		r->room *= 2;
	}
	do
		n = read(r->socket, r->buffer + r->end, r->room - r->end);
	while (n < 0 && errno == EINTR);
	if (n <= 0)
		return n ? -errno : -EPIPE;
	r->end += (size_t)n;
	return 0;
}

static int answers_send(struct receiver *r)
{
	size_t done = 0;

	while (done < r->answers_len) {
		ssize_t n = send(r->socket, r->answers + done,
		                 r->answers_len - done, MSG_NOSIGNAL);

		if (n < 0 && errno != EINTR)
			return -errno;
		done += n < 0 ? 0 : (size_t)n;
	}
	r->answers_len = 0;
	return 0;
}

/* ---- Decoding ----------------------------------------------------------- */

/*
 * Make the caller the owner, unless the caller is root.  -EPERM: only root may
 * import a device.
 */
static int attr_own(const struct importing *im, struct import_attr *attr)
{
	const struct fs_cred *cred = im->what->cred;
	struct inode *inode = &attr->inode;

	if (!cred->uid)
		return 0;
	if (S_ISCHR(inode->mode) || S_ISBLK(inode->mode))
		return -EPERM;
	if (inode->uid != cred->uid && !S_ISDIR(inode->mode))
		inode->mode &= ~(uint32_t)S_ISUID;
	if (inode->gid != cred->gid && !S_ISDIR(inode->mode))
		inode->mode &= ~(uint32_t)S_ISGID;
	inode->uid = cred->uid;
	inode->gid = cred->gid;
	return 0;
}

/* Take the rest of a frame as content. */
static int data_take(struct receiver *r, struct frame *f)
{
	struct fs *fs = r->im.fs;
	struct import_data *data = &f->data;
	bool whole = f->kind == IMPORT_FILE;

	data->len = reader_left(&f->body);
	data->data = reader_take(&f->body, data->len);
	if (f->body.bad || data->len > fs->chunk_size)
		return -EPROTO;
	r->im.counts->received += data->len;
	if ((whole && data->len <= EXTENT_INLINE_MAX) || !data->len)
		return 0;
	data->chunk = chunk_alloc(fs->store, data->len);
	if (!data->chunk)
		return -ENOMEM;
	chunk_set_len(data->chunk, (uint32_t)data->len);
	memcpy(chunk_data(data->chunk), data->data, data->len);
	return 0;
}

static int file_decode(struct receiver *r, struct frame *f)
{
	int err;

	f->dir = get_varint(&f->body);
	import_name_get(&f->body, f->name);
	f->flags = get_u8(&f->body);
	import_attr_get(&f->body, &f->attr);
	f->xattrs = import_bytes_get(&f->body);
	err = f->body.bad ? -EPROTO : attr_own(&r->im, &f->attr);
	return err ? err : data_take(r, f);
}

static int dir_decode(struct receiver *r, struct frame *f)
{
	f->dir = get_varint(&f->body);
	f->parent = get_varint(&f->body);
	if (f->dir)
		import_name_get(&f->body, f->name);
	import_attr_get(&f->body, &f->attr);
	f->xattrs = import_bytes_get(&f->body);
	return f->body.bad ? -EPROTO : attr_own(&r->im, &f->attr);
}

static int name_decode(struct receiver *r, struct frame *f, bool attr)
{
	f->dir = get_varint(&f->body);
	import_name_get(&f->body, f->name);
	if (attr)
		import_attr_get(&f->body, &f->attr);
	return f->body.bad ? -EPROTO : attr ? attr_own(&r->im, &f->attr) : 0;
}

/* Decode a frame.  Lock NOT held. */
static int frame_decode(struct receiver *r, struct frame *f)
{
	switch (f->kind) {
	case IMPORT_DIR:
		return dir_decode(r, f);
	case IMPORT_ENTRIES:
		f->dir = get_varint(&f->body);
		break;
	case IMPORT_FILE:
		return file_decode(r, f);
	case IMPORT_DATA:
		f->data.index = get_varint(&f->body);
		return data_take(r, f);
	case IMPORT_END:
		f->flags = get_u8(&f->body);
		f->size = get_varint(&f->body);
		break;
	case IMPORT_LINK:
	case IMPORT_KEEP:
		return name_decode(r, f, f->kind == IMPORT_LINK);
	case IMPORT_DONE:
		f->dir = get_varint(&f->body);
		f->flags = get_u8(&f->body);
		break;
	case IMPORT_COMMIT:
		r->complete = true;
		break;
	default:
		return -EPROTO;
	}
	return f->body.bad ? -EPROTO : 0;
}

static void frames_release(struct receiver *r)
{
	for (size_t i = 0; i < r->count; i++)
		chunk_unref(r->frames[i].data.chunk);
	r->count = 0;
}

/* Receive and decode the frames of the next piece.  Lock NOT held. */
static int frames_receive(struct receiver *r, size_t *ret_bytes)
{
	size_t len, at, bytes = 0, work = 0;
	int err = 0;

	frames_release(r);
	while (!err && !frame_len(r, r->start))
		err = receive_more(r);
	for (at = r->start; !err && !r->complete && work < IMPORT_PIECE &&
	                    bytes < PIECE_BYTES && (len = frame_len(r, at));
	     at += len) {
		struct frame *f = &r->frames[r->count++];

		*f = (struct frame){
		        .kind = r->buffer[at + 4],
		        .body = reader_init(r->buffer + at + IMPORT_HEAD,
		                            len - IMPORT_HEAD)};
		bytes += len;
		work += f->kind == IMPORT_ENTRIES ? IMPORT_PIECE / 2 : 1;
		err = frame_decode(r, f);
	}
	r->start = at;
	*ret_bytes = bytes;
	return err;
}

/* ---- Carrying out ------------------------------------------------------- */

static int entries_do(struct receiver *r, struct frame *f)
{
	struct import_dir *dir = import_dir_at(&r->im, f->dir);
	char name[NAME_LEN_MAX + 1];
	struct import_attr attr;
	int err = dir ? 0 : -EPROTO;
	unsigned count = 0;

	if (!err)
		r->answers[r->answers_len++] = dir->fresh ? IMPORT_FRESH : 0;
	while (!err && reader_left(&f->body)) {
		enum import_verdict verdict = IMPORT_SAME;

		import_name_get(&f->body, name);
		import_attr_get(&f->body, &attr);
		if (f->body.bad || ++count > IMPORT_ENTRIES_MAX)
			return -EPROTO;
		err = attr_own(&r->im, &attr);
		if (!err)
			err = import_entry(&r->im, f->dir, name, &attr,
			                   &verdict);
		r->answers[r->answers_len++] = (uint8_t)verdict;
	}
	return err;
}

static int dir_do(struct receiver *r, struct frame *f)
{
	struct writer w =
	        writer_init(r->answers + r->answers_len, IMPORT_HELLO_LEN);
	struct import_dir *top = import_dir_at(&r->im, 0);

	if (!f->dir && top && !r->begun) {
		r->begun = true;
		put_u32(&w, r->im.fs->chunk_size);
		put_u8(&w, top->fresh ? IMPORT_FRESH : 0);
		r->answers_len += writer_len(&w);
	} else if (!f->dir) {
		return -EPROTO;
	}
	return import_dir_begin(&r->im, f->dir, f->parent, f->name, &f->attr,
	                        f->xattrs);
}

/* Carry out a frame.  -EAGAIN: call import_compare(), then this again. */
static int frame_do(struct receiver *r, struct frame *f)
{
	struct importing *im = &r->im;

	if (im->file.open && f->kind != IMPORT_DATA && f->kind != IMPORT_END)
		return -EPROTO;
	switch (f->kind) {
	case IMPORT_DIR:
		return dir_do(r, f);
	case IMPORT_ENTRIES:
		return entries_do(r, f);
	case IMPORT_FILE:
		return import_file_put(im, f->dir, f->name, f->flags, &f->attr,
		                       f->xattrs, &f->data);
	case IMPORT_DATA:
		return import_data_put(im, &f->data);
	case IMPORT_END:
		return import_file_end(im, f->flags & IMPORT_FAILED, f->size);
	case IMPORT_LINK:
		return import_link(im, f->dir, f->name, &f->attr);
	case IMPORT_KEEP:
		return import_keep(im, f->dir, f->name);
	case IMPORT_DONE:
		return import_dir_end(im, f->dir, f->flags & IMPORT_PARTIAL);
	case IMPORT_COMMIT:
		break;
	}
	return 0;
}

/* Carry out a frame, comparing chunks without the lock as needed. */
static int frame_run(struct receiver *r, struct frame *f)
{
	struct store *store = r->im.fs->store;
	int err, settled, locked;

	while ((err = frame_do(r, f)) == -EAGAIN) {
		settled = import_settle(&r->im);
		store_unlock(store);
		err = import_compare(&r->im, &f->data);
		store_lock(store);
		locked = import_piece(&r->im);
		err = err ? err : settled ? settled : locked;
		if (err)
			break;
	}
	return err;
}

/* Carry out the frames of a piece.  Lock held; may be released meanwhile. */
static int frames_do(struct receiver *r)
{
	int settled, err = import_piece(&r->im);

	for (size_t i = 0; !err && i < r->count; i++)
		err = frame_run(r, &r->frames[i]);
	settled = import_settle(&r->im);
	return err ? err : settled;
}

/* Receive and carry out all frames.  Lock NOT held. */
static int receive_all(struct receiver *r)
{
	struct store *store = r->im.fs->store;
	size_t bytes;
	int err = 0;

	while (!err && !r->complete) {
		err = frames_receive(r, &bytes);
		if (!err)
			err = store_throttle_write(store, bytes);
		if (err)
			break;
		store_lock(store);
		err = frames_do(r);
		store_unlock(store);
		if (!err)
			err = answers_send(r);
	}
	frames_release(r);
	return err;
}

/* ---- The fork ----------------------------------------------------------- */

/* Begin the side head of a fork that gets a new tree. */
static int side_begin_new(struct importing *im)
{
	struct inode root = {.mode = S_IFDIR | 0755,
	                     .nlink = 2,
	                     .uid = im->what->cred->uid,
	                     .gid = im->what->cred->gid};
	struct state_side empty = {0};
	int err;

	root.atime = root.mtime = root.ctime = root.btime = time_now();
	err = side_create(im->fs->forest, &root, &empty);
	if (err)
		return err;
	side_freeze(&empty);
	hold_move(im->fs->forest, &empty.hold, &im->now->before);
	return side_begin_at(&im->now->before, &im->now->side);
}

/* Check that the fork has no snapshot with the requested name. */
static int snapshot_check(struct importing *im, const struct state *fork)
{
	const char *name = im->what->snapshot;
	struct state *other;
	int err = name ? state_find(im->fs->forest, fork->number, name, &other)
	               : -ENOENT;

	return err == -ENOENT ? 0 : err ? err : -EEXIST;
}

/* Begin the side head.  Lock held. */
static int fork_begin(struct importing *im)
{
	struct forest *forest = im->fs->forest;
	struct state *state;
	int err = state_resolve(forest, im->what->state, &state);

	im->make = err == -ENOENT;
	if (im->make) {
		err = state_source(forest, im->what->state, &state);
		if (!err && !state)
			return side_begin_new(im);
	} else if (!err && state->flags & STATE_READONLY) {
		err = -EROFS;
	} else if (!err) {
		err = snapshot_check(im, state);
	}
	if (err)
		return err;
	im->now->number = im->make ? 0 : state->number;
	err = state_hold(state, &im->now->before);
	return err ? err : side_begin(state, &im->now->side);
}

/* Check that the step can fail only for lack of memory or quota. */
static int fork_check(struct importing *im, struct state **ret_fork)
{
	int err = state_get(im->fs->forest, im->now->number, ret_fork);

	if (!err && !side_is_current(&im->now->side, *ret_fork))
		return -EBUSY;
	return err ? err : snapshot_check(im, *ret_fork);
}

/* Make the fork, or check the existing one, and switch it.  Lock held. */
static int fork_switch(struct importing *im)
{
	const struct fs_import *what = im->what;
	struct fs *fs = im->fs;
	struct state *fork, *snapshot;
	bool made = false;
	/* Before the checks: the lock may be released. */
	int err = forest_reserve_numbers(
	        fs->forest, (size_t)im->make + (what->snapshot != NULL));

	if (!err)
		err = im->make ? fs_state_fork(fs, NULL, what->state, 0755,
		                               what->cred, &fork)
		               : fork_check(im, &fork);
	if (!err && im->make) {
		im->now->made = made = true;
		im->now->number = fork->number;
	}
	if (!err)
		err = side_check_quota(&im->now->side, fork);
	if (!err)
		err = side_switch(&im->now->side, fork);
	if (err) {
		if (made)
			state_delete(fs->forest, fork, false);
		return err;
	}
	fork_switched(fs, fork);
	if (what->snapshot)
		err = fs_state_snapshot(fs, fork, what->snapshot, what->cred,
		                        &snapshot);
	im->now->txg = store_txg(fs->store);
	return err;
}

static int import_run(struct receiver *r)
{
	struct importing *im = &r->im;
	struct store *store = im->fs->store;
	bool fresh;
	int err = store_throttle(store, true);

	if (err)
		return err;
	store_lock(store);
	err = im->what->snapshot ? name_check_snapshot(im->what->snapshot) : 0;
	if (!err)
		err = fork_begin(im);
	if (!err)
		err = import_piece(im);
	if (!err)
		err = import_top(im, &fresh);
	store_unlock(store);
	if (!err)
		err = receive_all(r);
	if (err || im->what->dry_run)
		return err;
	store_lock(store);
	err = fork_switch(im);
	store_unlock(store);
	return err;
}

int fs_import(struct fs *fs, const struct fs_import *what, int socket,
              struct fs_imported *ret_imported)
{
	struct receiver *r = calloc(1, sizeof(*r));
	int err = -ENOMEM;

	*ret_imported = (struct fs_imported){0};
	if (r)
		r->buffer = malloc(BUFFER_FIRST);
	if (r && r->buffer) {
		r->room = BUFFER_FIRST;
		r->socket = socket;
		r->im.fs = fs;
		r->im.what = what;
		r->im.now = ret_imported;
		r->im.counts = &ret_imported->counts;
		err = import_run(r);
		import_tree_release(&r->im);
	}
	if (err)
		fs_imported_release(fs, ret_imported);
	if (r)
		free(r->buffer);
	free(r);
	return err;
}

void fs_imported_release(struct fs *fs, struct fs_imported *imported)
{
	store_lock(fs->store);
	hold_release(fs->forest, &imported->before);
	side_end(fs->forest, &imported->side);
	imported->before = (struct state_hold){0};
	imported->side = (struct state_side){0};
	store_unlock(fs->store);
}
