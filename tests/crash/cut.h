/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A file as it could be after a power cut, made from a recording: with
 * everything that was written up to a moment, or with any of what was not
 * synced by then lost or torn.
 */
#ifndef COPPICE_CUT_H
#define COPPICE_CUT_H

#include "shim.h"

/* A part of a write, or a truncation, that need not be on disk. */
struct pending {
	const struct event *event;
	size_t from, to;
	bool lost; /* a sync of it failed: no other will do it */
};

/* The file as it surely is, and what was written since it was last synced. */
struct disk_state {
	enum recorded file;
	uint8_t *bytes;
	size_t len, room;
	struct pending *pending;
	size_t pending_len, pending_room;
};

enum fate { FATE_ORDERED, FATE_SOME };

/* The file at the beginning of the recording. */
struct disk_state disk_begin(const struct recording *recording,
                             enum recorded file);
/*
 * The call has returned; it may be one to another file.  no_sync: as if no sync
 * did anything.
 */
void disk_advance(struct disk_state *d, const struct event *e, bool no_sync);
/*
 * Return the file after a power cut, to be released; begun: a call that had not
 * returned, or NULL.
 */
struct disk_state disk_cut(const struct disk_state *d,
                           const struct event *begun, enum fate fate,
                           uint64_t *random);
/* Write it to the store at the path, or remove it there if it is empty. */
void disk_write(const struct disk_state *d, const char *path);
void disk_release(struct disk_state *d);

#endif
