// The WaveNet generation loop, vectorised by GCC/Clang vector extensions: no intrinsics, no dependency.
// Channels are padded to multiples of 16, and the matrices come as one stream (weights.py); the output
// channel is the vector index. All is float32.
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

// tanh(x) = numerator / denominator: rational approximation (Eigen's), a few units in the last place.
static inline void tanh_of(vec x, vec& numerator, vec& denominator) {
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
  numerator = x * p, denominator = d * q + 4.89352518554385e-03f;
}

// tanh(f) * sigmoid(g) with one division: sigmoid(g) = (1 + tanh(g / 2)) / 2.
static inline vec gated(vec f, vec g) {
  vec a, b, c, d;
  tanh_of(f, a, b);
  tanh_of(g * 0.5f, c, d);
  return a * (c + d) * 0.5f / (b * d);
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

// In memory every product's matrix is cut into panels of at most PANEL columns, rows of a panel follow each
// other, and the products lie in the order in which a step needs them: it reads its weights front to back.
constexpr int PANEL = 128;

// y[b] += x[b] w for NB streams and NV vectors of columns; every weight is loaded once for all streams. With
// few accumulators even and odd rows have their own, so that additions do not wait for each other.
template <int NB, int NV>
static inline void add_columns(float* const* y, const float* const* x, int rows, const float* w, int width,
                               int at) {
  constexpr int PARTS = NB * NV <= 4 ? 2 : 1;
  vec sum[PARTS][NB][NV];
  for (int p = 0; p < PARTS; ++p)
    for (int b = 0; b < NB; ++b)
      for (int v = 0; v < NV; ++v) sum[p][b][v] = p ? vec{} : load(y[b] + at + W * v);
  w += at;
  for (int k = 0; k < rows; k += 2) {
    float now[NB][2];
    for (int b = 0; b < NB; ++b) now[b][0] = x[b][k], now[b][1] = x[b][k + 1];
    for (int v = 0; v < NV; ++v) {
      const vec even = load(w + W * v + k * width), odd = load(w + W * v + (k + 1) * width);
      for (int b = 0; b < NB; ++b) {
        sum[0][b][v] += even * now[b][0];
        sum[PARTS - 1][b][v] += odd * now[b][1];
      }
    }
  }
  for (int b = 0; b < NB; ++b)
    for (int v = 0; v < NV; ++v)
      store(y[b] + at + W * v, PARTS == 2 ? sum[0][b][v] + sum[PARTS - 1][b][v] : sum[0][b][v]);
}

// y[b][:columns] += x[b] w; then w points at the next product.
template <int NB>
static inline void add_product(float* const* y, const float* const* x, int rows, int columns,
                               const float*& w) {
  constexpr int WIDE = NB == 1 ? 8 : NB == 2 ? (W == 16 ? 8 : 4) : (W == 16 ? 4 : 2);
  float* shifted[NB];
  for (int done = 0, width = PANEL; done < columns; done += width) {
    while (width > columns - done) width /= 2;
    for (int b = 0; b < NB; ++b) shifted[b] = y[b] + done;
    int at = 0;
#define COLUMNS(NV) \
  for (; width - at >= NV * W; at += NV * W) add_columns<NB, NV>(shifted, x, rows, w, width, at);
    COLUMNS(WIDE)
    if (WIDE > 4) COLUMNS(4)
    if (WIDE > 2) COLUMNS(2)
    COLUMNS(1)
#undef COLUMNS
    w += rows * width;
  }
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
  const float *embedding, *output_bias, *skip_bias, *hidden_bias, *head_bias;
  const float* stream;  // per layer: gate, output (of the last the skip columns alone); then hidden, head
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
  float *x[NB], *h[NB], *g[NB], *y[NB], *sum[NB], *skip[NB], *hidden[NB], *z[NB], *ring[NB];
  for (int b = 0; b < NB; ++b) {
    x[b] = take(net.kernel * R), h[b] = take(G), g[b] = take(R), y[b] = take(R + S);
    skip[b] = take(S), hidden[b] = take(S), z[b] = take(CODES);
    sum[b] = y[b] + R;
    ring[b] = job.ring + (size_t)(first + b) * rows * R;
  }
  for (int64_t i = 0; i < job.n; ++i) {
    const float* weights = net.stream;
    const int64_t t = job.position + i, segment = t / job.hold_length - job.first_segment;
    for (int l = 0; l < L; ++l)  // what the layers will read of the past, most of it long out of the caches
      for (int b = 0; b < NB; ++b)
        for (int k = 0; k < taps; ++k) {
          const int64_t d = net.dilations[l], row = (t - (taps - k) * d) & (taps * d - 1);
          for (int j = 0; j < R; j += 16) __builtin_prefetch(ring[b] + (net.offsets[l] + row) * R + j);
        }
    for (int b = 0; b < NB; ++b) {
      memcpy(y[b], net.embedding + (size_t)job.code[first + b] * R, 4 * R);
      memcpy(y[b] + R, net.skip_bias, 4 * S);
    }
    for (int l = 0; l < L; ++l) {
      const int64_t d = net.dilations[l], mask = taps * d - 1;
      for (int b = 0; b < NB; ++b) {
        float* layer_ring = ring[b] + net.offsets[l] * R;
        for (int k = 0; k < taps; ++k)
          memcpy(x[b] + k * R, layer_ring + ((t - (taps - k) * d) & mask) * R, 4 * R);
        memcpy(x[b] + taps * R, y[b], 4 * R);
        memcpy(layer_ring + (t & mask) * R, y[b], 4 * R);
        const size_t gates = (size_t)((first + b) * job.segments + segment) * L + l;
        memcpy(h[b], job.conditioning + gates * G, 4 * G);
      }
      add_product<NB>(h, x, net.kernel * R, G, weights);
      const float* bias = net.output_bias + (size_t)l * R;
      for (int b = 0; b < NB; ++b)
        for (int j = 0; j < R; j += W) {
          store(g[b] + j, gated(load(h[b] + j), load(h[b] + R + j)));
          store(y[b] + j, load(y[b] + j) * net.residual_scale + load(bias + j));
        }
      if (l < L - 1)
        add_product<NB>(y, g, R, R + S, weights);
      else  // the last residual output would go nowhere
        add_product<NB>(sum, g, R, S, weights);
    }
    for (int b = 0; b < NB; ++b) {
      for (int j = 0; j < S; j += W) store(skip[b] + j, at_least(load(y[b] + R + j), vec{}));
      memcpy(hidden[b], net.hidden_bias, 4 * S);
      memcpy(z[b], net.head_bias, 4 * CODES);
    }
    add_product<NB>(hidden, skip, S, S, weights);
    for (int b = 0; b < NB; ++b)
      for (int j = 0; j < S; j += W) store(hidden[b] + j, at_least(load(hidden[b] + j), vec{}));
    add_product<NB>(z, hidden, S, CODES, weights);
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
