// SPDX-License-Identifier: GPL-2.0-or-later
// The bare guest's network: the first virtio-net device of bus 0 (as it was before virtio 1.0), UDP
// to one address and port, and ARP for it. No interrupts: it is looked at.
#pragma once

#include <stddef.h>
#include <stdint.h>

enum { NET_MOST_BYTES = 512 }; // of a question or an answer

// Answers QUESTION of so many bytes in ANSWER; returns its bytes, 0 = none.
typedef size_t (*NetAnswerFn)(const uint8_t *question, size_t bytes, uint8_t *answer);

// ADDRESS in the order of the network. false: there is no device.
int net_start(const uint8_t address[4], uint16_t port, NetAnswerFn answer);
// Answers what has come.
void net_look(void);
