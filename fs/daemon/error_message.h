/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Error messages: a text for people beside a negative errno. */
#ifndef COPPICE_ERROR_MESSAGE_H
#define COPPICE_ERROR_MESSAGE_H

#include <stdbool.h>

#include "holders.h"

/*
 * Set *ret_error to the message, to be freed (NULL: no memory for it), and
 * return err.
 */
int error_message_set(char **ret_error, int err, const char *format, ...)
        __attribute__((format(printf, 3, 4)));

/*
 * Describe the process that has the store at the path open, as "12 (vi)".
 * Return false if it is not known.
 */
bool store_user(const char *path, char ret_text[HOLDERS_TEXT]);

/*
 * Return the message for an error of store_open(), to be freed; NULL: no
 * memory.  `action` is the verb of the message: "open", "check", "mount" ...
 */
char *store_open_message(const char *action, const char *path, int err);

#endif
