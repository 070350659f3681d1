// SPDX-License-Identifier: GPL-2.0-or-later
#include "net.h"

#include "machine.h"

// virtio, legacy interface: offsets from the I/O BAR.
enum {
    FEATURES = 4,
    QUEUE_ADDRESS = 8,
    QUEUE_SIZE = 12,
    QUEUE_SELECT = 14,
    QUEUE_NOTIFY = 16,
    STATUS = 18,
    MAC = 20,
};

enum {
    VIRTIO_NET = 0x10001af4,
    SLOTS = 32,
    MOST_DESCRIPTORS = 256,
    PAGE = 4096,
    RECEIVE = 0,
    SEND = 1,
    BUFFERS = 128,
    BUFFER_BYTES = 2048,
    HEADER = 10,
    WRITABLE = 2,
    NO_INTERRUPT = 1,
};

typedef struct {
    uint64_t address;
    uint32_t bytes;
    uint16_t flags, next;
} Descriptor;

typedef struct {
    uint16_t flags, index, ring[];
} Available;

typedef struct {
    uint32_t id, bytes;
} Used;

typedef struct {
    uint16_t flags, index;
    Used ring[];
} UsedRing;

typedef struct {
    uint8_t room[4 * PAGE] __attribute__((aligned(PAGE)));
    uint16_t number, size, taken;
    Descriptor *descriptors;
    Available *available;
    volatile UsedRing *used;
    uint8_t buffers[BUFFERS][BUFFER_BYTES];
} Queue;

// As they are in a packet.
typedef struct {
    uint8_t to[6], from[6];
    uint16_t type;
} __attribute__((packed)) Ethernet;

typedef struct {
    uint16_t hardware, protocol;
    uint8_t hardware_bytes, protocol_bytes;
    uint16_t operation;
    uint8_t sender_mac[6], sender[4], target_mac[6], target[4];
} __attribute__((packed)) Arp;

typedef struct {
    uint8_t version, service;
    uint16_t bytes, id, fragment;
    uint8_t hops, protocol;
    uint16_t sum;
    uint8_t from[4], to[4];
} __attribute__((packed)) Ip;

typedef struct {
    uint16_t from, to, bytes, sum;
} __attribute__((packed)) Udp;

enum { ETHERNET_IP = 0x0800, ETHERNET_ARP = 0x0806, ARP_ASKS = 1, ARP_TELLS = 2, IP_UDP = 17 };

static Queue queues[2];
static uint16_t base;
static uint8_t mac[6], ip[4];
static uint16_t udp_port;
static NetAnswerFn answer_with;

static uint16_t swap(uint16_t value)
{
    return __builtin_bswap16(value);
}

// --- the device ---

static void offer(Queue *queue, uint16_t id, uint32_t bytes, uint16_t flags)
{
    queue->descriptors[id] = (Descriptor){(uint64_t)queue->buffers[id], bytes, flags, 0};
    queue->available->ring[queue->available->index % queue->size] = id;
    __atomic_store_n(&queue->available->index, queue->available->index + 1, __ATOMIC_RELEASE);
}

static void notify(const Queue *queue)
{
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
    out16(base + QUEUE_NOTIFY, queue->number);
}

static int queue_start(Queue *queue, uint16_t number)
{
    out16(base + QUEUE_SELECT, number);
    queue->number = number;
    queue->size = in16(base + QUEUE_SIZE);
    if (queue->size < BUFFERS || queue->size > MOST_DESCRIPTORS)
        return 0;
    size_t before_used = sizeof(Descriptor) * queue->size + sizeof(uint16_t) * (3U + queue->size);
    queue->descriptors = (Descriptor *)queue->room;
    queue->available = (Available *)(queue->room + sizeof(Descriptor) * queue->size);
    queue->used = (UsedRing *)(queue->room + (before_used + PAGE - 1) / PAGE * PAGE);
    queue->available->flags = NO_INTERRUPT;
    out32(base + QUEUE_ADDRESS, (uint32_t)((uint64_t)queue->room / PAGE));
    return 1;
}

static int find_device(void)
{
    for (unsigned slot = 0; slot < SLOTS; slot++) {
        if (pci_read(slot, 0) != VIRTIO_NET)
            continue;
        pci_write(slot, 4, (pci_read(slot, 4) & 0xffff) | 5); // I/O, bus master
        base = (uint16_t)(pci_read(slot, 0x10) & 0xfffc);
        return base != 0;
    }
    return 0;
}

// A free buffer to send from, or NULL: QEMU has taken none yet, and what is lost is lost.
static uint8_t *sending(uint16_t *id)
{
    Queue *queue = &queues[SEND];
    if ((uint16_t)(queue->available->index - queue->used->index) >= BUFFERS)
        return NULL;
    *id = queue->available->index % BUFFERS;
    memset(queue->buffers[*id], 0, HEADER);
    return queue->buffers[*id] + HEADER;
}

static void send(uint16_t id, size_t bytes)
{
    offer(&queues[SEND], id, (uint32_t)(HEADER + bytes), 0);
    notify(&queues[SEND]);
}

// --- packets ---

static void turn(Ethernet *reply, const Ethernet *asked)
{
    memcpy(reply->to, asked->from, sizeof mac);
    memcpy(reply->from, mac, sizeof mac);
    reply->type = asked->type;
}

static void tell_address(const Ethernet *asked, size_t bytes)
{
    const Arp *arp = (const Arp *)(asked + 1);
    uint16_t id;
    uint8_t *packet;
    if (bytes < sizeof *asked + sizeof *arp || arp->operation != swap(ARP_ASKS) ||
        memcmp(arp->target, ip, sizeof ip) != 0 || (packet = sending(&id)) == NULL)
        return;
    Arp *reply = (Arp *)(packet + sizeof *asked);
    turn((Ethernet *)packet, asked);
    *reply = *arp;
    reply->operation = swap(ARP_TELLS);
    memcpy(reply->target_mac, arp->sender_mac, sizeof mac);
    memcpy(reply->target, arp->sender, sizeof ip);
    memcpy(reply->sender_mac, mac, sizeof mac);
    memcpy(reply->sender, ip, sizeof ip);
    send(id, sizeof *asked + sizeof *arp);
}

// The network learns where the guest is, as it does from a kernel that gets its address.
static void announce(void)
{
    static const uint8_t everybody[6] = {255, 255, 255, 255, 255, 255};
    uint16_t id;
    uint8_t *packet = sending(&id);
    Ethernet *ethernet = (Ethernet *)packet;
    Arp *arp = (Arp *)(ethernet + 1);
    memcpy(ethernet->to, everybody, sizeof mac);
    memcpy(ethernet->from, mac, sizeof mac);
    ethernet->type = swap(ETHERNET_ARP);
    *arp = (Arp){.hardware = swap(1),
                 .protocol = swap(ETHERNET_IP),
                 .hardware_bytes = sizeof mac,
                 .protocol_bytes = sizeof ip,
                 .operation = swap(ARP_ASKS)};
    memcpy(arp->sender_mac, mac, sizeof mac);
    memcpy(arp->sender, ip, sizeof ip);
    memcpy(arp->target, ip, sizeof ip);
    send(id, sizeof *ethernet + sizeof *arp);
}

static uint16_t sum(const uint8_t *bytes, size_t n)
{
    uint32_t sum = 0;
    for (size_t i = 0; i + 1 < n; i += 2)
        sum += (uint32_t)bytes[i] << 8 | bytes[i + 1];
    while (sum >> 16)
        sum = (sum & 0xffff) + (sum >> 16);
    return (uint16_t)~sum;
}

static void reply_udp(uint8_t *packet, uint16_t id, const Ethernet *asked, size_t bytes)
{
    const Ip *from = (const Ip *)(asked + 1);
    const Udp *question = (const Udp *)(from + 1);
    Ip *to = (Ip *)(packet + sizeof *asked);
    Udp *answer = (Udp *)(to + 1);
    turn((Ethernet *)packet, asked);
    *answer = (Udp){question->to, question->from, swap((uint16_t)(sizeof *answer + bytes)), 0};
    *to = (Ip){.version = 0x45,
               .bytes = swap((uint16_t)(sizeof *to + sizeof *answer + bytes)),
               .hops = 64,
               .protocol = IP_UDP};
    memcpy(to->from, ip, sizeof ip);
    memcpy(to->to, from->from, sizeof ip);
    to->sum = swap(sum((const uint8_t *)to, sizeof *to));
    send(id, sizeof *asked + sizeof *to + sizeof *answer + bytes);
}

static void answer_udp(const Ethernet *asked, size_t bytes)
{
    const Ip *from = (const Ip *)(asked + 1);
    const Udp *question = (const Udp *)(from + 1);
    const size_t heads = sizeof *asked + sizeof *from + sizeof *question;
    uint16_t id;
    uint8_t *packet;
    if (bytes < heads || from->version != 0x45 || from->protocol != IP_UDP ||
        memcmp(from->to, ip, sizeof ip) != 0 || question->to != swap(udp_port) ||
        swap(question->bytes) < sizeof *question)
        return;
    size_t length = swap(question->bytes) - sizeof *question;
    if (length > bytes - heads || length > NET_MOST_BYTES || (packet = sending(&id)) == NULL)
        return;
    size_t answered = answer_with((const uint8_t *)(question + 1), length, packet + heads);
    if (answered > 0)
        reply_udp(packet, id, asked, answered);
}

static void take(const uint8_t *packet, size_t bytes)
{
    const Ethernet *ethernet = (const Ethernet *)packet;
    if (bytes < sizeof *ethernet)
        return;
    if (ethernet->type == swap(ETHERNET_ARP))
        tell_address(ethernet, bytes);
    else if (ethernet->type == swap(ETHERNET_IP))
        answer_udp(ethernet, bytes);
}

void net_look(void)
{
    Queue *queue = &queues[RECEIVE];
    while (queue->taken != __atomic_load_n(&queue->used->index, __ATOMIC_ACQUIRE)) {
        Used used = {queue->used->ring[queue->taken % queue->size].id,
                     queue->used->ring[queue->taken % queue->size].bytes};
        queue->taken++;
        if (used.bytes > HEADER)
            take(queue->buffers[used.id] + HEADER, used.bytes - HEADER);
        offer(queue, (uint16_t)used.id, BUFFER_BYTES, WRITABLE);
        notify(queue);
    }
}

int net_start(const uint8_t address[4], uint16_t port, NetAnswerFn answer)
{
    enum { ACKNOWLEDGED = 1, DRIVER = 2, READY = 4 };
    if (!find_device())
        return 0;
    memcpy(ip, address, sizeof ip);
    udp_port = port;
    answer_with = answer;
    out8(base + STATUS, 0);
    out8(base + STATUS, ACKNOWLEDGED | DRIVER);
    out32(base + FEATURES, 0);
    for (uint16_t i = 0; i < sizeof mac; i++)
        mac[i] = in8((uint16_t)(base + MAC + i));
    if (!queue_start(&queues[RECEIVE], RECEIVE) || !queue_start(&queues[SEND], SEND))
        return 0;
    out8(base + STATUS, ACKNOWLEDGED | DRIVER | READY);
    for (uint16_t i = 0; i < BUFFERS; i++)
        offer(&queues[RECEIVE], i, BUFFER_BYTES, WRITABLE);
    notify(&queues[RECEIVE]);
    announce();
    return 1;
}
