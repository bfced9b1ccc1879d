/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The address of a store's control socket. */
#ifndef COPPICE_CONTROL_ADDRESS_H
#define COPPICE_CONTROL_ADDRESS_H

#include <sys/socket.h>
#include <sys/un.h>

/* Return the address of the socket in the store's open directory `dir`. */
void control_address(int dir, struct sockaddr_un *ret_address);
/*
 * Return the abstract address, which has no file, of a store whose directory is
 * read-only.  -ENOENT: there is no store in `dir`.
 */
int control_address_abstract(int dir, struct sockaddr_un *ret_address,
                             socklen_t *ret_len);

#endif
