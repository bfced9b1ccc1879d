/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The sending end of an import, or of an export: frames are gathered and
 * written to a socket.  After an error nothing is sent any more.
 */
#ifndef COPPICE_IMPORT_STREAM_H
#define COPPICE_IMPORT_STREAM_H

#include "import_code.h"

struct import_stream {
	int socket; /* the caller's */
	int error;
	uint8_t *buffer;
	size_t len; /* bytes that are complete frames */
	struct writer frame;
};

/* -ENOMEM */
int stream_init(struct import_stream *s, int socket);
void stream_release(struct import_stream *s);
/*
 * Begin a frame.  Its bytes are written to the result, which has room for
 * IMPORT_FRAME_MAX of them.
 */
struct writer *stream_begin(struct import_stream *s, enum import_kind kind);
/* End the frame.  -E2BIG: it was too long, and is left out. */
int stream_end(struct import_stream *s);
/* Give up the frame. */
void stream_cancel(struct import_stream *s);
/* Send all frames. */
int stream_flush(struct import_stream *s);
/* Read so many bytes of answers. */
int stream_read(struct import_stream *s, void *ret_data, size_t len);

/* Frames that are received. */
struct import_frames {
	int socket; /* the caller's */
	uint8_t *buffer;
	size_t room, start, end;
};

/* -ENOMEM */
int frames_init(struct import_frames *f, int socket);
void frames_free(struct import_frames *f);
/*
 * Return the next frame; its bytes are valid until the next call.  -EPIPE: the
 * sender ended; -EPROTO.
 */
int frames_next(struct import_frames *f, enum import_kind *ret_kind,
                struct reader *ret_body);

#endif
