/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "control_copy.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>

#include "control_verb.h"
#include "util.h"

enum { PROGRESS_NS = 200000000 }; /* between two rows of progress */

struct copying {
	control_row_fn *fn;
	void *arg;
	int64_t last; /* mono_ns() of the last row of progress */
	int ended;    /* nonzero: fn's result, which ended the request */
};

/* Send a row of progress.  It fails if the receiver has gone. */
static int on_progress(void *arg, uint64_t done, uint64_t all)
{
	struct copying *c = arg;
	int64_t now = mono_ns();
	json_t *row;

	if (now - c->last < PROGRESS_NS)
		return 0;
	c->last = now;
	row = json_pack("{s:s, s:I, s:I}", "progress", "copying", "done",
	                (json_int_t)done, "all", (json_int_t)all);
	if (!row)
		return -ENOMEM;
	c->ended = c->fn(c->arg, row);
	json_decref(row);
	if (c->ended > 0)
		c->ended = -ECANCELED;
	return c->ended;
}

/* Return true if the file is empty and can be written to at any offset. */
static bool is_empty_file(int fd)
{
	struct stat st;
	int flags = fd < 0 ? -1 : fcntl(fd, F_GETFL);

	return flags >= 0 && (flags & O_ACCMODE) != O_RDONLY &&
	       !(flags & (O_APPEND | O_PATH)) && fstat(fd, &st) == 0 &&
	       S_ISREG(st.st_mode) && st.st_size == 0;
}

static json_t *copy_answer(const struct store *store, uint64_t bytes)
{
	const uint8_t *uuid = store_uuid(store);
	char hex[33];

	for (int i = 0; i < 16; i++)
		snprintf(hex + 2 * i, 3, "%02x", uuid[i]);
	return json_pack("{s:b, s:I, s:s}", "ok", 1, "bytes", (json_int_t)bytes,
	                 "identity", hex);
}

int control_copy(struct store *store, int fd, control_row_fn *fn, void *arg,
                 json_t **ret_answer)
{
	struct copying c = {.fn = fn, .arg = arg, .last = mono_ns()};
	const struct copy_options options = {on_progress, &c};
	uint64_t bytes;
	int err;

	if (!is_empty_file(fd)) {
		*ret_answer = control_error(-EINVAL, "no empty file came with "
		                                     "the request");
		return *ret_answer ? 0 : -ENOMEM;
	}
	err = store_is_readonly(store) ? 0 : store_sync(store);
	if (err < 0) {
		*ret_answer = control_error(err,
		                            "cannot save the last changes to "
		                            "the store: %s",
		                            control_reason(err));
		return *ret_answer ? 0 : -ENOMEM;
	}
	err = store_copy(store, fd, &options, &bytes);
	if (c.ended)
		return c.ended;
	if (err == 0)
		*ret_answer = copy_answer(store, bytes);
	else
		*ret_answer =
		        control_error(err, "cannot copy: %s",
		                      err == -ENOSPC ? strerror(ENOSPC)
		                                     : control_reason(err));
	return *ret_answer ? 0 : -ENOMEM;
}
