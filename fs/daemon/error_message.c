/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "error_message.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>

#include "holders.h"
#include "store.h"
#include "util.h"

int error_message_set(char **ret_error, int err, const char *format, ...)
{
	va_list ap;

	va_start(ap, format);
	if (vasprintf(ret_error, format, ap) < 0)
		*ret_error = NULL;
	va_end(ap);
	return err;
}

bool store_user(const char *path, char ret_text[HOLDERS_TEXT])
{
	_cleanup_free_ char *lock = NULL;

	if (asprintf(&lock, "%s/lock", path) < 0)
		return lock = NULL, false;
	return holders_lock(lock, ret_text);
}

char *store_open_message(const char *action, const char *path, int err)
{
	char *message, user[HOLDERS_TEXT] = "";
	bool found = err == -EBUSY && store_user(path, user);

	error_message_set(&message, err, "cannot %s the store '%s': %s%s%s%s",
	                  action, path, store_open_reason(err),
	                  found ? ": " : "", user,
	                  store_copy_reason(path, err));
	return message;
}
