/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Single steps of mode model, done to the mounts and to the model. */
#ifndef COPPICE_COHERENCE_MODEL_STEPS_H
#define COPPICE_COHERENCE_MODEL_STEPS_H

#include "model.h"

/* Do a random step, and compare some of what it changed. */
void step_random(struct model *model);

void handle_close(struct model *model, struct handle *handle);
void map_close(struct model *model, struct map *map);

/* Choosing. */
unsigned below(struct model *model, unsigned n);
bool one_in(struct model *model, unsigned n);
void need(struct model *model, bool good, const char *what);
struct name *name_at(struct model *model, struct place place);
/* Choose a name in a directory that is there; false: there is none. */
bool some_place(struct model *model, struct place *ret_place);
/* Choose the name of a file; false: none was met. */
bool some_file(struct model *model, struct place *ret_place);

/* Each does its step and returns the file that it changed, or NONE. */
int step_create(struct model *model);
int step_unlink(struct model *model);
int step_link(struct model *model);
int step_symlink(struct model *model);
int step_rename(struct model *model);
int step_mkdir(struct model *model);
int step_rmdir(struct model *model);
int step_rename_dir(struct model *model);
int step_chmod(struct model *model);
int step_xattr(struct model *model);

#endif
