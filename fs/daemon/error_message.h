/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What went wrong, as one sentence for people beside the error's number. */
#ifndef COPPICE_ERROR_MESSAGE_H
#define COPPICE_ERROR_MESSAGE_H

#include <stdarg.h>
#include <stdio.h>

/* Sets *ret_error (to be freed; NULL: no memory for it) and returns err. */
__attribute__((format(printf, 3, 4))) static inline int
fail(char **ret_error, int err, const char *format, ...)
{
	va_list ap;

	va_start(ap, format);
	if (vasprintf(ret_error, format, ap) < 0)
		*ret_error = NULL;
	va_end(ap);
	return err;
}

#endif
