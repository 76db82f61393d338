/* A strict stand-in for libcudart: memory is the host's, and work waits on its stream until
   somebody waits for it, so that whoever reads too early reads what was there before.

   Refused: addresses that were never handed out, copies beyond their end, copies from memory that
   is not pinned, freeing twice, freeing what a queue still needs, capturing twice, launching a
   graph that is gone. STANDIN_GPUS=0: no GPU; STANDIN_MEMORY=N: N bytes; STANDIN_DISCRETE=1: they
   are the GPU's own, else they are the system's, as a Jetson's; compiled with -DNO_GRAPHS it cannot
   instantiate graphs, as CUDA before 11.4. */

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { OK = 0, INVALID_VALUE = 1, OUT_OF_MEMORY = 2, NO_DEVICE = 100, INVALID_HANDLE = 400,
       NOT_READY = 600, ILLEGAL_ADDRESS = 700, CAPTURE_UNSUPPORTED = 900, CAPTURE_INVALIDATED = 901,
       CAPTURE_UNMATCHED = 903 };
enum { TO_DEVICE = 1, TO_HOST = 2 };
enum { BLOCKS = 4096, OPERATIONS = 4096 };

typedef void (*host_function)(void *);
typedef struct event { int made, recorded; struct timespec at; } event;
typedef struct operation {
  enum { COPY, CALL, MARK } what;
  void *target; const void *source; size_t size;
  host_function function; void *data;
  event *mark;
} operation;
typedef struct queue { int count; operation operations[OPERATIONS]; } queue;
typedef struct stream { int made, capturing, broken; queue waiting, captured; } stream;
typedef struct graph { int made; queue nodes; } graph;
typedef struct block { char *start; size_t size; int pinned; } block;

static block blocks[BLOCKS];
static stream *streams[64];
static int last_error, faulted;
static size_t in_use;

static int fail(int status) { return last_error = status; }

static block *block_of(const void *address, size_t size) {
  const char *start = address;
  for (block *b = blocks; b < blocks + BLOCKS; b++)
    if (b->start && start >= b->start && start + size <= b->start + b->size) return b;
  return NULL;
}

static size_t there_is(void) {
  const char *limit = getenv("STANDIN_MEMORY");
  return limit ? strtoull(limit, NULL, 10) : (size_t)8 << 30;
}

static int discrete(void) { return getenv("STANDIN_DISCRETE") != NULL; }

static int take(void **out, size_t size, int pinned) {
  if (!size) { *out = NULL; return OK; }
  if (in_use + size > there_is()) return fail(OUT_OF_MEMORY);
  for (block *b = blocks; b < blocks + BLOCKS; b++)
    if (!b->start) {
      b->start = malloc(size);
      memset(b->start, 0xA5, size); /* nobody may count on zeros */
      b->size = size; b->pinned = pinned; in_use += size;
      *out = b->start;
      return OK;
    }
  return fail(OUT_OF_MEMORY);
}

static int needed(const block *b) {
  for (int i = 0; i < 64; i++)
    for (int k = 0; streams[i] && k < streams[i]->waiting.count; k++) {
      operation *o = &streams[i]->waiting.operations[k];
      if (o->what == COPY && (block_of(o->target, 1) == b || block_of(o->source, 1) == b)) return 1;
    }
  return 0;
}

static int give(void *address, int pinned) {
  if (!address) return OK;
  block *b = block_of(address, 1);
  if (!b || b->start != address || b->pinned != pinned || needed(b)) return fail(INVALID_VALUE);
  memset(b->start, 0xDD, b->size);
  free(b->start);
  in_use -= b->size;
  memset(b, 0, sizeof *b);
  return OK;
}

static int enqueue(stream *s, operation o) {
  if (!s || !s->made) return fail(INVALID_HANDLE);
  queue *q = s->capturing ? &s->captured : &s->waiting;
  if (q->count == OPERATIONS) return fail(OUT_OF_MEMORY);
  q->operations[q->count++] = o;
  return OK;
}

static void work(queue *q) {
  for (int i = 0; i < q->count; i++) {
    operation *o = &q->operations[i];
    if (o->what == COPY) {
      if (block_of(o->target, o->size) && block_of(o->source, o->size))
        memcpy(o->target, o->source, o->size);
      else faulted = 1; /* a graph outlived its memory */
    }
    else if (o->what == CALL) o->function(o->data);
    else { clock_gettime(CLOCK_MONOTONIC, &o->mark->at); o->mark->recorded = 1; }
  }
  q->count = 0;
}

const char *cudaGetErrorString(int status) {
  switch (status) {
    case OK: return "no error";
    case INVALID_VALUE: return "invalid argument";
    case OUT_OF_MEMORY: return "out of memory";
    case NO_DEVICE: return "no CUDA-capable device is detected";
    case INVALID_HANDLE: return "invalid resource handle";
    case ILLEGAL_ADDRESS: return "an illegal memory access was encountered";
    case NOT_READY: return "device not ready";
    case CAPTURE_UNSUPPORTED: return "operation not permitted when stream is capturing";
    case CAPTURE_INVALIDATED: return "operation failed due to a previous error during capture";
    default: return "unrecognized error code";
  }
}

int cudaGetLastError(void) { int status = last_error; last_error = OK; return status; }
int cudaRuntimeGetVersion(int *version) { *version = 12060; return OK; }
int cudaDriverGetVersion(int *version) { *version = 12080; return OK; }

int cudaGetDeviceCount(int *count) {
  const char *gpus = getenv("STANDIN_GPUS");
  *count = gpus ? atoi(gpus) : 1;
  return *count ? OK : fail(NO_DEVICE);
}

int cudaDeviceGetAttribute(int *value, int attribute, int device) {
  if (device || (attribute != 18 && attribute != 75 && attribute != 76)) return fail(INVALID_VALUE);
  *value = attribute == 18 ? !discrete() : attribute == 75 ? 8 : 7;
  return OK;
}

int cudaMemGetInfo(size_t *free, size_t *total) {
  if (!free || !total) return fail(INVALID_VALUE);
  *free = *total = there_is();
  for (block *b = blocks; b < blocks + BLOCKS; b++)
    if (b->start && !(b->pinned && discrete())) *free -= b->size; /* pinned: the host's memory */
  return OK;
}

int cudaGetDeviceProperties(char *properties, int device) {
  if (device) return fail(INVALID_VALUE);
  memset(properties, 0, 1032);
  strcpy(properties, "Stand-in GPU");
  return OK;
}

int cudaMalloc(void **out, size_t size) { return take(out, size, 0); }
int cudaFree(void *address) { return give(address, 0); }
int cudaHostAlloc(void **out, size_t size, unsigned flags) {
  return flags ? fail(INVALID_VALUE) : take(out, size, 1);
}
int cudaFreeHost(void *address) { return give(address, 1); }

int cudaMemcpyAsync(void *target, const void *source, size_t size, int kind, stream *s) {
  block *to = block_of(target, size), *from = block_of(source, size);
  if (!to || !from || (kind != TO_DEVICE && kind != TO_HOST)) return fail(INVALID_VALUE);
  if (to->pinned != (kind == TO_HOST) || from->pinned != (kind == TO_DEVICE))
    return fail(INVALID_VALUE);
  return enqueue(s, (operation){.what = COPY, .target = target, .source = source, .size = size});
}

int cudaLaunchHostFunc(stream *s, host_function function, void *data) {
  return enqueue(s, (operation){.what = CALL, .function = function, .data = data});
}

int cudaStreamCreateWithFlags(stream **out, unsigned flags) {
  if (flags > 1) return fail(INVALID_VALUE);
  for (int i = 0; i < 64; i++)
    if (!streams[i]) {
      *out = streams[i] = calloc(1, sizeof(stream));
      (*out)->made = 1;
      return OK;
    }
  return fail(OUT_OF_MEMORY);
}

static int place_of(const stream *s) {
  for (int i = 0; i < 64; i++) if (s && streams[i] == s) return i;
  return -1;
}

int cudaStreamSynchronize(stream *s) {
  if (place_of(s) < 0) return fail(INVALID_HANDLE);
  if (s->capturing) { s->broken = 1; return fail(CAPTURE_UNSUPPORTED); }
  work(&s->waiting);
  int status = faulted ? fail(ILLEGAL_ADDRESS) : OK;
  faulted = 0;
  return status;
}

int cudaStreamDestroy(stream *s) {
  int place = place_of(s);
  if (place < 0 || s->capturing) return fail(INVALID_HANDLE);
  work(&s->waiting);
  streams[place] = NULL;
  free(s);
  return OK;
}

int cudaStreamIsCapturing(stream *s, int *status) {
  if (place_of(s) < 0) return fail(INVALID_HANDLE);
  *status = s->capturing;
  return OK;
}

int cudaStreamBeginCapture(stream *s, int mode) {
  if (place_of(s) < 0) return fail(INVALID_HANDLE);
  if (s->capturing || mode < 0 || mode > 2) return fail(INVALID_VALUE);
  s->capturing = 1; s->broken = 0; s->captured.count = 0;
  return OK;
}

int cudaStreamEndCapture(stream *s, graph **out) {
  if (place_of(s) < 0 || !s->capturing) return fail(CAPTURE_UNMATCHED);
  s->capturing = 0;
  *out = NULL;
  if (s->broken) return fail(CAPTURE_INVALIDATED);
  *out = calloc(1, sizeof(graph));
  (*out)->made = 1;
  (*out)->nodes = s->captured;
  return OK;
}

#ifndef NO_GRAPHS
int cudaGraphInstantiateWithFlags(graph **out, graph *from, unsigned long long flags) {
  if (!from || from->made != 1 || flags) return fail(INVALID_VALUE);
  *out = malloc(sizeof(graph));
  **out = *from;
  (*out)->made = 2;
  return OK;
}
#endif

int cudaGraphLaunch(graph *g, stream *s) {
  if (!g || g->made != 2) return fail(INVALID_VALUE);
  for (int i = 0; i < g->nodes.count; i++) {
    int status = enqueue(s, g->nodes.operations[i]);
    if (status) return status;
  }
  return OK;
}

/* Kept, so that a use after the end is seen. */
int cudaGraphDestroy(graph *g) {
  if (!g || g->made != 1) return fail(INVALID_VALUE);
  g->made = 0;
  return OK;
}
int cudaGraphExecDestroy(graph *g) {
  if (!g || g->made != 2) return fail(INVALID_VALUE);
  g->made = 0;
  return OK;
}

int cudaEventCreate(event **out) { *out = calloc(1, sizeof(event)); (*out)->made = 1; return OK; }
int cudaEventDestroy(event *e) {
  if (!e || !e->made) return fail(INVALID_HANDLE);
  e->made = 0;
  return OK;
}
int cudaEventRecord(event *e, stream *s) {
  if (!e || !e->made) return fail(INVALID_HANDLE);
  return enqueue(s, (operation){.what = MARK, .mark = e});
}
int cudaEventSynchronize(event *e) {
  if (!e || !e->made) return fail(INVALID_HANDLE);
  for (int i = 0; i < 64; i++) if (streams[i] && !streams[i]->capturing) work(&streams[i]->waiting);
  return OK;
}
int cudaEventElapsedTime(float *ms, event *start, event *end) {
  if (!start || !end || !start->made || !end->made) return fail(INVALID_HANDLE);
  if (!start->recorded || !end->recorded) return fail(NOT_READY);
  *ms = (end->at.tv_sec - start->at.tv_sec) * 1e3f + (end->at.tv_nsec - start->at.tv_nsec) / 1e6f;
  return OK;
}

/* Not CUDA's: how many blocks are held, for tests of what was given back. */
int standin_blocks(void) {
  int count = 0;
  for (block *b = blocks; b < blocks + BLOCKS; b++) count += b->start != NULL;
  return count;
}
