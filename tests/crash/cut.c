/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Power cuts: the possible contents of a file after one. */
#include "cut.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

#include "scratch.h"
#include "util.h"

enum { MARGIN = 1 << 20 };

struct disk_state disk_begin(const struct recording *recording,
                             enum recorded file)
{
	struct disk_state d = {.file = file,
	                       .len = recording->base_len[file],
	                       .room = recording->base_len[file] + MARGIN};

	d.bytes = malloc(d.room);
	assert_non_null(d.bytes);
	if (d.len)
		memcpy(d.bytes, recording->base[file], d.len);
	return d;
}

static void disk_apply_part(struct disk_state *d, const struct event *e,
                            size_t from, size_t to)
{
	size_t end = (size_t)e->off + to;

	if (end > d->room) {
		d->room = end + MARGIN;
		d->bytes = realloc(d->bytes, d->room);
		assert_non_null(d->bytes);
	}
	if (end > d->len) {
		memset(d->bytes + d->len, 0, end - d->len);
		d->len = end;
	}
	memcpy(d->bytes + (size_t)e->off + from, e->data + from, to - from);
}

static void disk_apply(struct disk_state *d, const struct pending *p)
{
	if (p->event->kind == EVENT_WRITE)
		disk_apply_part(d, p->event, p->from, p->to);
	else if (p->event->kind == EVENT_TRUNCATE &&
	         (size_t)p->event->off < d->len)
		d->len = (size_t)p->event->off;
}

static void disk_pend(struct disk_state *d, struct pending pending)
{
	if (d->pending_len == d->pending_room) {
		d->pending_room = d->pending_room ? d->pending_room * 2 : 64;
		d->pending = realloc(d->pending,
		                     d->pending_room * sizeof(*d->pending));
		assert_non_null(d->pending);
	}
	d->pending[d->pending_len++] = pending;
}

/* Drop these bytes of the file from the lost writes. */
static void disk_forget(struct disk_state *d, size_t from, size_t to)
{
	size_t len = d->pending_len;

	for (size_t i = 0; i < len; i++) {
		struct pending p = d->pending[i];
		size_t off = (size_t)p.event->off;

		if (!p.lost || p.event->kind != EVENT_WRITE ||
		    off + p.to <= from || off + p.from >= to)
			continue;
		if (off + p.to > to) {
			struct pending rest = p;

			rest.from = to - off;
			disk_pend(d, rest);
		}
		d->pending[i].to = MAX(p.from, from - MIN(from, off));
	}
}

/* Apply a write that is on disk, and forget what it overwrote. */
static void disk_settle(struct disk_state *d, const struct pending *p)
{
	size_t off = (size_t)p->event->off;

	disk_apply(d, p);
	if (p->event->kind == EVENT_WRITE)
		disk_forget(d, off + p->from, off + p->to);
}

static void disk_sync(struct disk_state *d)
{
	size_t len = d->pending_len, kept = 0;

	for (size_t i = 0; i < len; i++) {
		struct pending p = d->pending[i];

		if (!p.lost)
			disk_settle(d, &p);
	}
	for (size_t i = 0; i < d->pending_len; i++)
		if (d->pending[i].lost && d->pending[i].from < d->pending[i].to)
			d->pending[kept++] = d->pending[i];
	d->pending_len = kept;
}

void disk_advance(struct disk_state *d, const struct event *e, bool no_sync)
{
	struct pending p = {.event = e, .to = e->len};

	if (e->file != d->file)
		return;
	if (e->kind == EVENT_LOST_SYNC) {
		for (size_t i = 0; i < d->pending_len; i++)
			d->pending[i].lost = true;
	} else if (e->kind == EVENT_SYNC) {
		if (!no_sync)
			disk_sync(d);
	} else if (e->kind == EVENT_WRITE && e->synced && !no_sync) {
		disk_settle(d, &p);
	} else {
		disk_pend(d, p);
	}
}

void disk_release(struct disk_state *d)
{
	free(d->bytes);
	free(d->pending);
}

/* A sector of a write arrives or does not, whatever the others do. */
static void apply_torn(struct disk_state *d, const struct pending *p,
                       uint64_t *random)
{
	const struct event *e = p->event;
	size_t at = p->from;

	while (at < p->to) {
		/* To the next boundary of the file, not of the write. */
		size_t to = ((size_t)e->off + at) / SECTOR * SECTOR + SECTOR -
		            (size_t)e->off;

		to = MIN(to, p->to);
		if (scratch_random(random) & 1)
			disk_apply_part(d, e, at, to);
		at = to;
	}
}

/* In any order: each is drawn from those that are left. */
static void apply_some(struct disk_state *d, struct pending *pending,
                       size_t len, uint64_t *random)
{
	uint64_t lose = scratch_random(random) % 9,
	         tear = scratch_random(random) % 5;

	while (len) {
		size_t i = scratch_random(random) % len;
		struct pending p = pending[i];

		pending[i] = pending[--len];
		if (scratch_random(random) % 8 < lose)
			continue;
		if (p.event->kind == EVENT_WRITE &&
		    scratch_random(random) % 8 < tear)
			apply_torn(d, &p, random);
		else
			disk_apply(d, &p);
	}
}

struct disk_state disk_cut(const struct disk_state *d,
                           const struct event *begun, enum fate fate,
                           uint64_t *random)
{
	struct disk_state cut = {
	        .file = d->file, .len = d->len, .room = d->len + MARGIN};
	struct pending *pending;
	size_t len = d->pending_len;

	cut.bytes = malloc(cut.room);
	pending = malloc((len + 1) * sizeof(*pending));
	assert_true(cut.bytes && pending);
	memcpy(cut.bytes, d->bytes, d->len);
	if (len)
		memcpy(pending, d->pending, len * sizeof(*pending));
	if (begun && begun->file == d->file && begun->kind < EVENT_SYNC)
		pending[len++] =
		        (struct pending){.event = begun, .to = begun->len};
	if (fate == FATE_SOME)
		apply_some(&cut, pending, len, random);
	for (size_t i = 0; fate == FATE_ORDERED && i < len; i++)
		disk_apply(&cut, &pending[i]);
	free(pending);
	return cut;
}

void disk_write(const struct disk_state *d, const char *path)
{
	char file[200];
	size_t at = 0;
	int fd;

	snprintf(file, sizeof(file), "%s/%s", path, recorded_names[d->file]);
	if (!d->len) {
		assert_true(!unlink(file) || errno == ENOENT);
		return;
	}
	fd = open(file, O_WRONLY | O_CREAT | O_TRUNC, 0600);
	assert_true(fd >= 0);
	while (at < d->len) {
		ssize_t n = write(fd, d->bytes + at, d->len - at);

		assert_true(n > 0);
		at += (size_t)n;
	}
	close(fd);
}
