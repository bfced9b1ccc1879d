/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The option --set of verbs that make a state. */
#ifndef COPPICE_PROPERTY_OPTIONS_H
#define COPPICE_PROPERTY_OPTIONS_H

#include <jansson.h>

#include "command.h"

/*
 * Check that each option is KEY=VALUE.  If not, print a usage message, and
 * return false and the exit code.
 */
bool property_options_check(const struct command *self,
                            const struct option_list *options, int *ret_code);
/* Add the properties to a request, which may be NULL. */
void property_options_add(const struct option_list *options, json_t *request);

#endif
