/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "content_rows.h"

#include <errno.h>

#include "base64.h"
#include "util.h"

enum {
	ROW_BYTES = 45000, /* fit a line (LINE_MAX_LEN) as base64 */
	TEXT_LOOK = 8000,  /* bytes in which a NUL makes a file binary */
};

struct sending {
	struct control *c;
	const char *side;
};

static int row_send(const struct sending *s, json_t *row)
{
	int err = row && s->side ? json_object_set_new(row, "side",
	                                               json_string(s->side))
	                         : 0;

	if (!row || err < 0) {
		json_decref(row);
		return -ENOMEM;
	}
	s->c->ended = s->c->fn(s->c->arg, row);
	json_decref(row);
	return s->c->ended;
}

static int on_piece(void *arg, const uint8_t *data, uint64_t len)
{
	const struct sending *s = arg;
	int err = 0;

	if (!data)
		return row_send(s, json_pack("{s:I}", "hole", (json_int_t)len));
	while (!err && len) {
		size_t part = MIN(len, (uint64_t)ROW_BYTES);

		err = row_send(s, json_pack("{s:o}", "data",
		                            base64_encode(data, part)));
		data += part;
		len -= part;
	}
	return err;
}

int content_rows_send(struct control *c, struct tree *tree, uint64_t ino,
                      uint64_t size, const char *side)
{
	struct sending s = {c, side};

	return file_content(tree, ino, size, on_piece, &s);
}

static int look_for_nul(void *arg, const uint8_t *data, uint64_t len)
{
	bool *text = arg;

	*text = data && !memchr(data, 0, len);
	return !*text;
}

int content_is_text(struct tree *tree, uint64_t ino, uint64_t size,
                    bool *ret_text)
{
	bool text = true;
	int r = file_content(tree, ino, MIN(size, (uint64_t)TEXT_LOOK),
	                     look_for_nul, &text);

	if (r < 0)
		return r;
	*ret_text = text;
	return 0;
}
