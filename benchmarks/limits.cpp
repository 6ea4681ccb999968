// What a generation step cannot be faster than: its weights go through the fused multiply-adds of the kernel,
// and nothing else is done (no gate, no ring, no sampling). `floats` is a multiple of 128; with `block` < floats
// only that many are used over and over.
#include <cstdint>
#ifdef __AVX512F__
constexpr int W = 16;
#else
constexpr int W = 8;
#endif
typedef float vec __attribute__((vector_size(4 * W)));
typedef float vec_unaligned __attribute__((vector_size(4 * W), aligned(4)));

extern "C" float stream_weights(const float* w, int64_t floats, int64_t block, int64_t steps) {
  float input = 1e-3f;
  for (int64_t step = 0; step < steps; ++step) {
    vec sum[8] = {};
    int64_t at = 0;
    for (int64_t done = 0; done < floats; done += 8 * W) {
      for (int v = 0; v < 8; ++v) sum[v] += (vec) * (const vec_unaligned*)(w + at + W * v) * input;
      at += 8 * W;
      if (at >= block) at = 0;
    }
    for (int v = 1; v < 8; ++v) sum[0] += sum[v];
    input += sum[0][step & (W - 1)] * 1e-30f;  // the next step waits for this one, as it does in generation
  }
  return input;
}
