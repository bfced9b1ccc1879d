/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The lineage of all states, read from a store.  Versions that no state points
 * at are left out unless they have several children, or were joined.
 */
#ifndef COPPICE_LINEAGE_H
#define COPPICE_LINEAGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { NO_NODE = -1 };

/* A state, from a row of `list`. */
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
	uint64_t node;    /* version of the oldest node that contains it */
	uint64_t version; /* the version that was joined */
	uint64_t sequence;
	char *name; /* as in JSON: of the state that was joined */
	char *time; /* likewise */
};

/* A version. */
struct lineage_node {
	uint64_t version;
	uint64_t parent; /* version; 0: none */
	char *created; /* as in JSON: time of its freeze; NULL: it has states */
	size_t first, states; /* index and number of its states */
	/* indexes of nodes, or NO_NODE */
	int64_t up;             /* parent that is not left out */
	int64_t kids, next_kid; /* the heaviest, then the newest first */
	uint64_t kids_count;
	uint64_t weight; /* number of its descendants and itself */
	bool joined;     /* it was joined into a fork */
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

/* Read the lineage.  Complain about errors, and return an exit code. */
int lineage_read(const char *store, struct lineage *ret_lineage);
void lineage_release(struct lineage *lineage);

#endif
