/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The two ends of the socket of an import or export.  Frames to be sent are
 * gathered in a buffer; after an error nothing is sent any more.
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
 * Begin a frame.  Return the writer for its bytes, at most IMPORT_FRAME_MAX.
 */
struct writer *stream_begin(struct import_stream *s, enum import_kind kind);
/*
 * End the frame.  -E2BIG: it was too long, and is left out; else the first
 * error of sending.
 */
int stream_end(struct import_stream *s);
/* Discard the frame. */
void stream_cancel(struct import_stream *s);
/* Send all gathered frames.  Return the first error of sending. */
int stream_flush(struct import_stream *s);
/* Send all frames, and read `len` bytes of answers.  -EPIPE: none come. */
int stream_read(struct import_stream *s, void *ret_data, size_t len);

/* The receiving end. */
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
 * sender ended; -EPROTO: it is too long.
 */
int frames_next(struct import_frames *f, enum import_kind *ret_kind,
                struct reader *ret_body);

#endif
