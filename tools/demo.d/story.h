/* SPDX-License-Identifier: BSD-2-Clause */
/* The sentences around the timelines: what is being shown, and what happened. */
#ifndef DEMO_STORY_H
#define DEMO_STORY_H

#include "round.h"
#include "shop.h"

/* The stage: the shop, the query alone, the server. */
void story_shop(const struct shop *shop);
void story_query(uint64_t alone_ns);
void story_server(const struct server *server);

/* The heading of a round, before it is played. */
void story_heading(unsigned number, const struct round *round, unsigned clients);

/* What happened in it, after its timeline. */
void story_round(const struct round *round);

/* For --serve: where to look and what to type. */
void story_serve(const struct server *server);

#endif
