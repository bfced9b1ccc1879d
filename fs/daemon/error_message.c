/* SPDX-License-Identifier: LGPL-2.1-or-later */
#include "error_message.h"

#include <stdarg.h>
#include <stdio.h>

#include "store.h"

int error_message_set(char **ret_error, int err, const char *format, ...)
{
	va_list ap;

	va_start(ap, format);
	if (vasprintf(ret_error, format, ap) < 0)
		*ret_error = NULL;
	va_end(ap);
	return err;
}

char *store_open_message(const char *action, const char *path, int err)
{
	char *message;

	error_message_set(&message, err, "cannot %s the store '%s': %s%s",
	                  action, path, store_open_reason(err),
	                  store_copy_reason(path, err));
	return message;
}
