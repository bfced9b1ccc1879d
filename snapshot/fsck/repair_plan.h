/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The plan of a repair: what of the damaged store is kept.  Inside snapshot/
 * only.
 */
#ifndef COPPICE_SNAPSHOT_REPAIR_PLAN_H
#define COPPICE_SNAPSHOT_REPAIR_PLAN_H

#include "repair.h"

/* A state of which something needed is lost. */
struct lost {
	uint64_t number, fork;
	int64_t created;
	char name[NAME_LEN_MAX + 1];
	bool found; /* its version after all */
};

struct plan {
	struct repair *repair;
	struct check *check;
	/* of each version: */
	bool *inner;   /* others grew from it */
	bool *snapped; /* a snapshot has it */
	bool *headed;  /* a fork has it, and writes to it */
	size_t *grown; /* living kids */
	size_t *kept;  /* index in what is kept; or NO_VERSION */
	struct lost *lost;
	size_t lost_len, lost_capacity;
	bool *apart; /* of each kept state: it needs a head of its own */
	size_t apart_size;
};

/* repair_record.c */
/* Where it is among the versions of the check; NO_VERSION: it is no good. */
size_t plan_version_index(struct plan *p, uint64_t id);
/* 0: unknown. */
int64_t plan_version_created(struct plan *p, uint64_t id);

/* repair_state.c: -ENOMEM, -ECANCELED */
bool plan_number_good(uint64_t number);
/* Keep the state, if it is a fork (or not) and can be read; else it is lost. */
int plan_state(struct plan *p, const struct check_state *s, bool forks);
/* Names of states whose record is not there: lost ones, too. */
int plan_names(struct plan *p);
/* For versions that are nobody's: a state that lost its own, or a new one. */
int plan_recover_states(struct plan *p, bool head);
/* Among those that are kept, by number; NULL. */
struct repair_state *plan_kept_find(struct repair *repair, uint64_t number);
/* Forks that are lost themselves: made of their newest snapshots. */
int plan_recover_forks(struct plan *p);
/* Tell what stays lost. */
int plan_tell_lost(struct plan *p);

/* repair_symlink.c: note which inode numbers they have */
int plan_symlinks(struct plan *p);

#endif
