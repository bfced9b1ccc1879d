/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The description of the last failure of each thread. */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "handle.h"
#include "util.h"

enum { ERROR_SIZE = 1024 };

static __thread char error_text[ERROR_SIZE];

const char *coppice_error(void)
{
	return error_text;
}

const char *coppice_version(void)
{
	return COPPICE_VERSION;
}

const char *error_reason(int err)
{
	switch (err) {
	case -EUCLEAN:
		return "the store is damaged";
	case -ENOSPC:
		return "the store or its disk is full";
	case -EDQUOT:
		return "the quota of the fork is used up";
	case -ESTALE:
		return "the state was deleted";
	case -EPROTO:
		return "the answer of the store's daemon cannot be read";
	default:
		return strerror(-err);
	}
}

int fail_text(int err, const char *format, ...)
{
	va_list ap;

	va_start(ap, format);
	vsnprintf(error_text, sizeof(error_text), format, ap);
	va_end(ap);
	return err;
}

int fail_name(int err, const char *verb, const char *name)
{
	const char *reason = err == -ENOENT   ? "there is no such state"
	                     : err == -EEXIST ? "the name is taken"
	                     : err == -EINVAL ? "not a possible name"
	                                      : error_reason(err);

	return fail_text(err, "cannot %s '%s': %s", verb, name, reason);
}

/* Write the name of a state, or its number if it is gone. */
static void state_text(const struct coppice_state *state,
                       char text[NAME_LEN_MAX * 2 + 2])
{
	struct store *store = state->store->store;
	struct state *found;

	store_lock(store);
	if (state_get(state->store->forest, state->number, &found))
		snprintf(text, 32, "number %llu",
		         (unsigned long long)state->number);
	else
		state_full_name(state->store->forest, found, text);
	store_unlock(store);
}

int fail_path(int err, const char *verb, const struct coppice_state *state,
              const char *path, size_t len)
{
	char name[NAME_LEN_MAX * 2 + 2];

	state_text(state, name);
	return fail_text(err, "cannot %s '%.*s' in '%s': %s", verb, (int)len,
	                 path, name, error_reason(err));
}

int store_check(const struct coppice *store)
{
	return *store->own ? 0
	                   : fail_text(-ECHILD,
	                               "the store was opened by another "
	                               "process: each process opens it itself");
}

int store_check_writable(const struct coppice *store)
{
	int err = store_check(store);

	if (!err && store->readonly)
		err = fail_text(-EROFS, "the store '%s' was opened read-only",
		                store->path);
	return err;
}

int flags_check(unsigned flags, unsigned known)
{
	return flags & ~known ? fail_text(-EINVAL, "unknown flags: 0x%x",
	                                  flags & ~known)
	                      : 0;
}

int struct_return(void *ret, size_t room, const void *from, size_t size)
{
	if (room < sizeof(size_t) || room > 65536)
		return fail_text(-EINVAL, "the size of a struct is not set");
	memcpy((char *)ret + sizeof(size_t),
	       (const char *)from + sizeof(size_t),
	       MIN(room, size) - sizeof(size_t));
	if (room > size)
		memset((char *)ret + size, 0, room - size);
	return 0;
}
