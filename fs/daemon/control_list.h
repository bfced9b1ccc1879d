/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The verbs `list`, `show` and `stat`. */
#ifndef COPPICE_CONTROL_LIST_H
#define COPPICE_CONTROL_LIST_H

#include "control_verb.h"

int control_list(struct control *c);
int control_show(struct control *c);
int control_stat(struct control *c);

#endif
