/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The lineage of all states, read from a store.  Versions that no state names
 * are left out unless several others come from them, or they were joined.
 */
#ifndef COPPICE_LINEAGE_H
#define COPPICE_LINEAGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { NO_NODE = -1 };

/* A state, as rows of `list` describe it. */
struct lineage_state {
	uint64_t version;
	uint64_t parent;
	char *name;     /* as in JSON */
	char *created;  /* likewise */
	uint64_t bytes; /* size of its files */
	uint64_t frees; /* bytes that deleting it would free */
	bool is_snapshot;
};

/* A join into the fork of a node's states, drawn at that node. */
struct lineage_join {
	uint64_t node;    /* version of the first that contains it */
	uint64_t version; /* that was brought in */
	uint64_t sequence;
	char *name; /* as in JSON: of the state that was brought in */
	char *time; /* likewise */
};

/* A version. */
struct lineage_node {
	uint64_t version;
	uint64_t parent; /* version; 0: none */
	char *created; /* as in JSON; when it froze.  NULL: a state names it */
	size_t first, states; /* in the array of states */
	/* set by lineage_link(); indexes of nodes, or NO_NODE */
	int64_t up;             /* parent */
	int64_t kids, next_kid; /* the heaviest, then the newest first */
	uint64_t kids_count;
	uint64_t weight; /* nodes that come from it, and itself */
	bool joined;     /* it was brought into another one */
	bool left_out;
};

struct lineage {
	struct lineage_state *states; /* by version */
	size_t states_len, states_capacity;
	struct lineage_node *nodes; /* by version: parents come first */
	size_t nodes_len, nodes_capacity;
	struct lineage_join *joins; /* by node */
	size_t joins_len, joins_capacity;
};

/* Return the joins of a node, *ret_count of them. */
const struct lineage_join *lineage_joins(const struct lineage *lineage,
                                         const struct lineage_node *node,
                                         size_t *ret_count);

/* Read the lineage.  Complains itself, and returns an exit code. */
int lineage_read(const char *store, struct lineage *ret_lineage);
void lineage_release(struct lineage *lineage);

#endif
