// The WaveNet generation loop, vectorised by GCC/Clang vector extensions: no intrinsics, no dependency.
// Weights as in weights.py: float32, contiguous, input-major (the output channel is the vector index), channels padded to 16.
#include <cstdint>
#include <cstring>
#include <vector>

#ifdef __AVX512F__
constexpr int W = 16;  // floats in a vector
#else
constexpr int W = 8;
#endif
typedef float vec __attribute__((vector_size(4 * W)));
typedef float vec_unaligned __attribute__((vector_size(4 * W), aligned(4)));
typedef int32_t ivec __attribute__((vector_size(4 * W)));
static inline vec load(const float* p) { return (vec) * (const vec_unaligned*)p; }
static inline void store(float* p, vec v) { *(vec_unaligned*)p = (vec_unaligned)v; }
static inline vec at_most(vec a, vec b) { return a < b ? a : b; }
static inline vec at_least(vec a, vec b) { return a > b ? a : b; }
constexpr int CODES = 256;

// Rational approximation (Eigen's), a few units in the last place.
static inline vec tanh_of(vec x) {
  x = at_least(at_most(x, vec{} + 7.905311f), vec{} - 7.905311f);
  const vec q = x * x;
  vec p = q * -2.76076847742355e-16f + 2.00018790482477e-13f;
  p = p * q + -8.60467152213735e-11f;
  p = p * q + 5.12229709037114e-08f;
  p = p * q + 1.48572235717979e-05f;
  p = p * q + 6.37261928875436e-04f;
  p = p * q + 4.89352455891786e-03f;
  vec d = q * 1.19825839466702e-06f + 1.18534705686654e-04f;
  d = d * q + 2.26843463243900e-03f;
  d = d * q + 4.89352518554385e-03f;
  return x * p / d;
}

// exp of x <= 0 (Cephes' polynomial after range reduction by powers of two).
static inline vec exp_of(vec x) {
  x = at_least(x, vec{} - 87.0f);
  const ivec n = __builtin_convertvector(x * 1.44269504088896341f - 0.5f, ivec);
  const vec whole = __builtin_convertvector(n, vec);
  const vec r = x - whole * 0.693359375f - whole * -2.12194440e-4f;
  vec p = r * 1.9875691500e-4f + 1.3981999507e-3f;
  p = p * r + 8.3334519073e-3f;
  p = p * r + 4.1665795894e-2f;
  p = p * r + 1.6666665459e-1f;
  p = p * r + 5.0000001201e-1f;
  p = p * r * r + r + 1.0f;
  return p * (vec)((n + 127) << 23);
}

// y[b] += x[b] w for NB streams and NV vectors of columns; every weight is loaded once for all streams. With few
// accumulators the inputs are split in two halves, so that additions do not wait for each other.
template <int NB, int NV>
static inline void add_columns(float* const* y, const float* const* x, int rows, const float* w, int stride) {
  constexpr int HALVES = NB * NV <= 4 ? 2 : 1;
  vec sum[HALVES][NB][NV];
  for (int b = 0; b < NB; ++b)
    for (int v = 0; v < NV; ++v) {
      sum[0][b][v] = load(y[b] + W * v);
      if (HALVES == 2) sum[HALVES - 1][b][v] = vec{};
    }
  const int half = rows / HALVES;
  for (int k = 0; k < half; ++k)
    for (int s = 0; s < HALVES; ++s) {
      const int row = k + s * half;
      for (int v = 0; v < NV; ++v) {
        const vec weight = load(w + (size_t)row * stride + W * v);
        for (int b = 0; b < NB; ++b) sum[s][b][v] += weight * x[b][row];
      }
    }
  for (int b = 0; b < NB; ++b)
    for (int v = 0; v < NV; ++v) store(y[b] + W * v, HALVES == 2 ? sum[0][b][v] + sum[HALVES - 1][b][v] : sum[0][b][v]);
}

// y[b][first:columns] += x[b] w[:, first:columns]
template <int NB>
static inline void add_product(float* const* y, const float* const* x, int rows, const float* w, int columns, int first = 0) {
  constexpr int WIDE = NB == 1 ? 8 : NB == 2 ? 6 : W == 16 ? 6 : 2;
  float* shifted[NB];
  int j = first;
#define COLUMNS(NV)                                             \
  for (; columns - j >= NV * W; j += NV * W) {                  \
    for (int b = 0; b < NB; ++b) shifted[b] = y[b] + j;         \
    add_columns<NB, NV>(shifted, x, rows, w + j, columns);      \
  }
  COLUMNS(WIDE)
  if (WIDE > 6) COLUMNS(6)
  if (WIDE > 4) COLUMNS(4)
  if (WIDE > 2) COLUMNS(2)
  COLUMNS(1)
#undef COLUMNS
}

static int pick(const float* logits, float inverse_temperature, float uniform) {
  alignas(64) float p[CODES];
  vec top = load(logits), total = vec{};
  for (int j = W; j < CODES; j += W) top = at_least(top, load(logits + j));
  float highest = top[0];
  for (int j = 1; j < W; ++j) highest = top[j] > highest ? top[j] : highest;
  for (int j = 0; j < CODES; j += W) {
    const vec e = exp_of((load(logits + j) - highest) * inverse_temperature);
    store(p + j, e);
    total += e;
  }
  float sum = 0;
  for (int j = 0; j < W; ++j) sum += total[j];
  const float limit = uniform * sum;
  float below = 0;
  for (int j = 0; j < CODES - 1; ++j) {
    below += p[j];
    if (limit < below) return j;
  }
  return CODES - 1;
}

struct Net {
  const float *embedding, *gate, *output, *output_bias, *skip_bias, *hidden, *hidden_bias, *head, *head_bias;
  const int64_t *dilations, *offsets;
  int32_t layers, kernel, R, S;
  float residual_scale;
};

struct Job {
  float* ring;
  int64_t* code;
  const float *conditioning, *uniforms;
  const uint8_t* forced;  // null: draw freely
  uint8_t* codes;
  float* logits;  // null: not wanted
  int64_t position, first_segment, segments, hold_length, n;
  float inverse_temperature;
};

template <int NB>
static void run(const Net& net, const Job& job, int64_t first) {
  const int R = net.R, S = net.S, G = 2 * R, taps = net.kernel - 1, L = net.layers;
  const int64_t rows = net.offsets[L];
  std::vector<float> scratch((size_t)NB * (net.kernel * R + G + R + R + S + S + S + CODES) + 16);
  float* next = scratch.data();
  const auto take = [&](int n) { float* p = next; next += n; return p; };
  float *x[NB], *h[NB], *g[NB], *y[NB], *skip[NB], *hidden[NB], *z[NB], *ring[NB];
  for (int b = 0; b < NB; ++b) {
    x[b] = take(net.kernel * R), h[b] = take(G), g[b] = take(R), y[b] = take(R + S), skip[b] = take(S), hidden[b] = take(S), z[b] = take(CODES);
    ring[b] = job.ring + (size_t)(first + b) * rows * R;
  }
  for (int64_t i = 0; i < job.n; ++i) {
    const int64_t t = job.position + i, segment = t / job.hold_length - job.first_segment;
    for (int b = 0; b < NB; ++b) {
      memcpy(y[b], net.embedding + (size_t)job.code[first + b] * R, 4 * R);
      memcpy(y[b] + R, net.skip_bias, 4 * S);
    }
    for (int l = 0; l < L; ++l) {
      const int64_t d = net.dilations[l], mask = taps * d - 1;
      for (int b = 0; b < NB; ++b) {
        float* layer_ring = ring[b] + net.offsets[l] * R;
        for (int k = 0; k < taps; ++k) memcpy(x[b] + k * R, layer_ring + ((t - (taps - k) * d) & mask) * R, 4 * R);
        memcpy(x[b] + taps * R, y[b], 4 * R);
        memcpy(layer_ring + (t & mask) * R, y[b], 4 * R);
        memcpy(h[b], job.conditioning + ((size_t)((first + b) * job.segments + segment) * L + l) * G, 4 * G);
      }
      add_product<NB>(h, x, net.kernel * R, net.gate + (size_t)l * net.kernel * R * G, G);
      const float* bias = net.output_bias + (size_t)l * R;
      for (int b = 0; b < NB; ++b)
        for (int j = 0; j < R; j += W) {
          store(g[b] + j, tanh_of(load(h[b] + j)) * (tanh_of(load(h[b] + R + j) * 0.5f) * 0.5f + 0.5f));
          store(y[b] + j, load(y[b] + j) * net.residual_scale + load(bias + j));
        }
      add_product<NB>(y, g, R, net.output + (size_t)l * R * (R + S), R + S, l == L - 1 ? R : 0);
    }
    for (int b = 0; b < NB; ++b) {
      for (int j = 0; j < S; j += W) store(skip[b] + j, at_least(load(y[b] + R + j), vec{}));
      memcpy(hidden[b], net.hidden_bias, 4 * S);
      memcpy(z[b], net.head_bias, 4 * CODES);
    }
    add_product<NB>(hidden, skip, S, net.hidden, S);
    for (int b = 0; b < NB; ++b)
      for (int j = 0; j < S; j += W) store(hidden[b] + j, at_least(load(hidden[b] + j), vec{}));
    add_product<NB>(z, hidden, S, net.head, CODES);
    for (int b = 0; b < NB; ++b) {
      const size_t at = (size_t)(first + b) * job.n + i;
      const int drawn = pick(z[b], job.inverse_temperature, job.uniforms[at]);
      job.codes[at] = (uint8_t)drawn;
      job.code[first + b] = job.forced ? job.forced[at] : drawn;
      if (job.logits) memcpy(job.logits + at * CODES, z[b], 4 * CODES);
    }
  }
}

extern "C" void retimbre_wavenet_run(const Net* net, const Job* job, int64_t streams) {
  int64_t b = 0;
  for (; b + 4 <= streams; b += 4) run<4>(*net, *job, b);
  for (; b + 2 <= streams; b += 2) run<2>(*net, *job, b);
  for (; b < streams; ++b) run<1>(*net, *job, b);
}
