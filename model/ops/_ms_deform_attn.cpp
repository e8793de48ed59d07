// Multi-scale deformable attention and its gradients on a CPU; model/ops/reference.py is the specification.
//
// The channels of a head lie side by side, so every corner of a bilinear sample is a few vectors in one run of memory.
// Sums are kept in float, or in double for double tensors; bfloat16 and half are converted as they are read. The
// forward pass is divided by query. The backward pass is divided by image, head and level, each of which owns its
// part of all three gradients and goes through the queries in order: no thread count changes a bit of the result.
//
// Knows nothing of torch: tensors come as addresses of contiguous memory. With WITHOUT_PYTHON it is plain C++.

#include <algorithm>
#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <system_error>
#include <thread>
#include <type_traits>
#include <vector>

#define INLINE inline __attribute__((always_inline))

namespace {

using Index = std::ptrdiff_t;

struct Level {
    Index height, width, start;  // start: its first token
};

struct Sizes {
    Index batch, tokens, queries, heads, channels, points;
    std::vector<Level> levels;
    Index samples() const { return static_cast<Index>(levels.size()) * points; }  // of a query in a head
};

// Tensors of the operator: values and what has their type (Stored), and what is computed with (Real).
template <typename Stored, typename Real>
struct Inputs {
    const Stored* value;      // (B, S, H, D)
    const Real* locations;    // (B, Q, H, L, P, 2)
    const Real* weights;      // (B, Q, H, L, P)
};

// ---- Numbers: how values are stored, and vectors of them

struct BFloat16 {
    std::uint16_t bits;
};
struct Half {
    std::uint16_t bits;
};

template <typename T, int kLanes>
struct VectorOf {
    typedef T type __attribute__((vector_size(kLanes * sizeof(T))));
};
template <typename T, int kLanes>
using Vector = typename VectorOf<T, kLanes>::type;

template <typename To, typename From>
INLINE void copy_bits(To& to, const From& from) {
    static_assert(sizeof(To) == sizeof(From));
    std::memcpy(&to, &from, sizeof to);
}

template <int kLanes, typename Real>
INLINE std::enable_if_t<std::is_floating_point_v<Real>> load(const Real* from, Vector<Real, kLanes>& to) {
    std::memcpy(&to, from, sizeof to);
}

template <int kLanes>
INLINE void load_bits(const void* from, Vector<std::uint32_t, kLanes>& to) {
    Vector<std::uint16_t, kLanes> bits;
    std::memcpy(&bits, from, sizeof bits);
    to = __builtin_convertvector(bits, Vector<std::uint32_t, kLanes>);
}

template <int kLanes>
INLINE void load(const BFloat16* from, Vector<float, kLanes>& to) {
    Vector<std::uint32_t, kLanes> bits;
    load_bits<kLanes>(from, bits);
    bits <<= 16;
    copy_bits(to, bits);
}

template <int kLanes>
INLINE void load(const Half* from, Vector<float, kLanes>& to) {
    Vector<std::uint32_t, kLanes> bits;
    load_bits<kLanes>(from, bits);
    const Vector<std::uint32_t, kLanes> sign = (bits & 0x8000u) << 16;
    bits = (bits & 0x7fffu) << 13;
    copy_bits(to, bits);
    to *= 0x1p112f;  // the exponents count from 15 and 127; subnormals become normal
    Vector<std::uint32_t, kLanes> scaled, special;
    copy_bits(scaled, to);
    const auto beyond = to >= 65536.0f;  // infinities and NaN
    copy_bits(special, beyond);
    scaled |= (special & 0x7f800000u) | sign;
    copy_bits(to, scaled);
}

INLINE void store(double from, double* to) { *to = from; }

INLINE void store(float from, float* to) { *to = from; }

INLINE void store(float from, BFloat16* to) {
    std::uint32_t bits;
    copy_bits(bits, from);
    const bool nan = (bits & 0x7fffffffu) > 0x7f800000u;
    to->bits = nan ? 0x7fc0 : static_cast<std::uint16_t>((bits + 0x7fffu + (bits >> 16 & 1)) >> 16);  // to even
}

INLINE void store(float from, Half* to) {
    std::uint32_t bits;
    copy_bits(bits, from);
    const std::uint32_t sign = bits >> 16 & 0x8000u;
    bits &= 0x7fffffffu;
    std::uint32_t half;
    if (bits >= 0x47800000u) {  // 65536 and more
        half = bits > 0x7f800000u ? 0x7e00u : 0x7c00u;
    } else if (bits < 0x38800000u) {  // subnormal: the sum with 0.5 rounds it to multiples of 2^-24
        float magnitude;
        copy_bits(magnitude, bits);
        magnitude += 0.5f;
        copy_bits(half, magnitude);
        half -= 0x3f000000u;
    } else {
        half = (bits + 0xfffu + (bits >> 13 & 1) - 0x38000000u) >> 13;  // to even
    }
    to->bits = static_cast<std::uint16_t>(half | sign);
}

template <typename Real, int kLanes>
INLINE Real sum(const Vector<Real, kLanes>& vector) {
    if constexpr (kLanes == 1) {
        return vector[0];
    } else {
        Vector<Real, kLanes / 2> halves[2];
        copy_bits(halves, vector);
        halves[0] += halves[1];
        return sum<Real, kLanes / 2>(halves[0]);
    }
}

// ---- Samples

// The four corners of a bilinear sample, as distances in memory from the first, and their shares. A corner outside has
// no share and stands at one inside that has: a token that is NaN is felt only where it is sampled.
template <typename Real>
struct Sample {
    Index corners[4];  // above left, above right, below left, below right
    Real shares[4];
    Real slopes_x[4], slopes_y[4];  // derivatives of the shares
    Real weight;
};

// Whether a place touches the level at all; NaN does not.
template <bool kSlopes, typename Real>
INLINE bool place(const Level& level, Index stride, const Real* location, Sample<Real>& sample) {
    const Real x = location[0] * static_cast<Real>(level.width) - Real(0.5);
    const Real y = location[1] * static_cast<Real>(level.height) - Real(0.5);
    if (!(x > -1 && y > -1 && x < static_cast<Real>(level.width) && y < static_cast<Real>(level.height))) return false;
    const Index left = static_cast<Index>(x + 1) - 1, above = static_cast<Index>(y + 1) - 1;
    const Real right_share = x - static_cast<Real>(left), below_share = y - static_cast<Real>(above);
    const Index columns[2] = {std::max<Index>(left, 0), std::min(left + 1, level.width - 1)};
    const Index rows[2] = {std::max<Index>(above, 0), std::min(above + 1, level.height - 1)};
    const Real inside_x[2] = {Real(left >= 0), Real(left + 1 < level.width)};
    const Real inside_y[2] = {Real(above >= 0), Real(above + 1 < level.height)};
    const Real share_x[2] = {(1 - right_share) * inside_x[0], right_share * inside_x[1]};
    const Real share_y[2] = {(1 - below_share) * inside_y[0], below_share * inside_y[1]};
    for (int corner = 0; corner < 4; ++corner) {
        const int column = corner & 1, row = corner >> 1;
        sample.corners[corner] = (rows[row] * level.width + columns[column]) * stride;
        sample.shares[corner] = share_x[column] * share_y[row];
        if constexpr (kSlopes) {
            sample.slopes_x[corner] = (column ? inside_x[1] : -inside_x[0]) * share_y[row];
            sample.slopes_y[corner] = (row ? inside_y[1] : -inside_y[0]) * share_x[column];
        }
    }
    return true;
}

// ---- Forward

template <typename Real>
struct Weighted {
    Index corners[4];
    Real shares[4];  // times the attention weight
};

// Channels from `done` on, in blocks of kBlock and then of half as many.
template <int kBytes, int kBlock, typename Stored, typename Real>
INLINE void attend(
    const Stored* value, const Weighted<Real>* samples, Index count, Index done, Index channels, Stored* out) {
    constexpr int kLanes = std::min<int>(kBlock, kBytes / sizeof(Real)), kVectors = kBlock / kLanes;
    for (; done + kBlock <= channels; done += kBlock) {
        Vector<Real, kLanes> sums[kVectors] = {};
        for (Index i = 0; i < count; ++i) {
            for (int corner = 0; corner < 4; ++corner) {
                const Stored* token = value + samples[i].corners[corner] + done;
                for (int v = 0; v < kVectors; ++v) {
                    Vector<Real, kLanes> part;
                    load<kLanes>(token + v * kLanes, part);
                    sums[v] += samples[i].shares[corner] * part;
                }
            }
        }
        for (int v = 0; v < kVectors; ++v)
            for (int lane = 0; lane < kLanes; ++lane) store(sums[v][lane], out + done + v * kLanes + lane);
    }
    if constexpr (kBlock > 1) attend<kBytes, kBlock / 2>(value, samples, count, done, channels, out);
}

// The queries from `first` to `last`, counted through all images, in one head after the other.
template <int kBytes, typename Stored, typename Real>
INLINE void forward_queries(
    const Sizes& sizes, const Inputs<Stored, Real>& in, Stored* out, Index first, Index last,
    Weighted<Real>* samples) {
    const Index width = sizes.heads * sizes.channels, all = sizes.samples();
    for (Index head = 0; head < sizes.heads; ++head) {
        for (Index query = first; query < last; ++query) {
            const Stored* value = in.value + query / sizes.queries * sizes.tokens * width + head * sizes.channels;
            const Index at = (query * sizes.heads + head) * all;
            Index count = 0, point = at;
            for (const Level& level : sizes.levels) {
                for (Index p = 0; p < sizes.points; ++p, ++point) {
                    Sample<Real> sample;
                    if (!place<false>(level, width, in.locations + 2 * point, sample)) continue;
                    for (int corner = 0; corner < 4; ++corner) {
                        samples[count].corners[corner] = level.start * width + sample.corners[corner];
                        samples[count].shares[corner] = sample.shares[corner] * in.weights[point];
                    }
                    ++count;
                }
            }
            attend<kBytes, 32>(value, samples, count, 0, sizes.channels, out + query * width + head * sizes.channels);
        }
    }
}

// ---- Backward

// What a sample gives to the gradient of the value, and what the output's gradient is at its corners.
template <int kBytes, int kBlock, typename Stored, typename Real>
INLINE void scatter(
    const Stored* value, const Sample<Real>& sample, const Index* places, const Real* grad, Index done, Index channels,
    Real* grad_value, Real* products) {
    constexpr int kLanes = std::min<int>(kBlock, kBytes / sizeof(Real)), kVectors = kBlock / kLanes;
    for (; done + kBlock <= channels; done += kBlock) {
        for (int corner = 0; corner < 4; ++corner) {
            const Real share = sample.shares[corner] * sample.weight;
            Vector<Real, kLanes> product = {};
            for (int v = 0; v < kVectors; ++v) {
                const Index channel = done + v * kLanes;
                Vector<Real, kLanes> slope, token, total;
                load<kLanes>(grad + channel, slope);
                load<kLanes>(value + sample.corners[corner] + channel, token);
                product += slope * token;
                Real* place = grad_value + places[corner] + channel;
                load<kLanes>(place, total);
                total += share * slope;
                std::memcpy(place, &total, sizeof total);
            }
            products[corner] += sum<Real, kLanes>(product);
        }
    }
    if constexpr (kBlock > 1)
        scatter<kBytes, kBlock / 2>(value, sample, places, grad, done, channels, grad_value, products);
}

template <int kBlock, typename Stored, typename Real>
INLINE void convert(const Stored* from, Index count, Real* to) {
    Index done = 0;
    for (; done + kBlock <= count; done += kBlock) {
        Vector<Real, kBlock> part;
        load<kBlock>(from + done, part);
        std::memcpy(to + done, &part, sizeof part);
    }
    if constexpr (kBlock > 1) convert<kBlock / 2>(from + done, count - done, to + done);
}

template <typename Stored, typename Real>
struct Gradients {
    Stored* value;
    Real* locations;
    Real* weights;
};

// One level in one head of one image. `scratch` holds D numbers and then D for every token of the level.
template <int kBytes, typename Stored, typename Real>
INLINE void backward_level(
    const Sizes& sizes, const Inputs<Stored, Real>& in, const Stored* grad_out, const Gradients<Stored, Real>& out,
    Index batch, Index head, Index number, Real* scratch) {
    const Index width = sizes.heads * sizes.channels, channels = sizes.channels;
    const Level& level = sizes.levels[number];
    const Index first = (batch * sizes.tokens + level.start) * width + head * channels;
    const Stored* value = in.value + first;
    Real* const grad = scratch;
    Real* const grad_value = scratch + channels;
    std::fill_n(grad_value, level.height * level.width * channels, Real(0));
    for (Index query = batch * sizes.queries; query < (batch + 1) * sizes.queries; ++query) {
        convert<16>(grad_out + query * width + head * channels, channels, grad);
        const Index at = (query * sizes.heads + head) * sizes.samples() + number * sizes.points;
        for (Index point = at; point < at + sizes.points; ++point) {
            Sample<Real> sample;
            Real products[4] = {}, to_weight = 0, to_x = 0, to_y = 0;
            if (place<true>(level, 1, in.locations + 2 * point, sample)) {
                Index places[4];
                for (int corner = 0; corner < 4; ++corner) {
                    places[corner] = sample.corners[corner] * channels;
                    sample.corners[corner] *= width;
                }
                sample.weight = in.weights[point];
                scatter<kBytes, 32>(value, sample, places, grad, 0, channels, grad_value, products);
                for (int corner = 0; corner < 4; ++corner) {
                    to_weight += sample.shares[corner] * products[corner];
                    to_x += sample.slopes_x[corner] * products[corner];
                    to_y += sample.slopes_y[corner] * products[corner];
                }
                to_x *= sample.weight * static_cast<Real>(level.width);
                to_y *= sample.weight * static_cast<Real>(level.height);
            }
            out.weights[point] = to_weight;
            out.locations[2 * point] = to_x;
            out.locations[2 * point + 1] = to_y;
        }
    }
    for (Index token = 0; token < level.height * level.width; ++token)
        for (Index channel = 0; channel < channels; ++channel)
            store(grad_value[token * channels + channel], out.value + first + token * width + channel);
}

// ---- The same for each kind of processor, of which the best that is here is taken

enum class Processor { kBaseline, kAvx2, kAvx512 };

#if defined(__x86_64__)
#define AVX2 __attribute__((target("avx2,fma")))
#define AVX512 __attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,avx2,fma")))

Processor best_processor() {
    __builtin_cpu_init();
    if (!__builtin_cpu_supports("avx2") || !__builtin_cpu_supports("fma")) return Processor::kBaseline;
    const bool wide = __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                      __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl");
    return wide ? Processor::kAvx512 : Processor::kAvx2;
}
#else
#define AVX2
#define AVX512

Processor best_processor() { return Processor::kBaseline; }
#endif

#define ON_EACH_PROCESSOR(name, function)                                                                       \
    template <typename... Arguments>                                                                            \
    void name##_baseline(const Arguments&... arguments) { function<16>(arguments...); }                         \
    template <typename... Arguments>                                                                            \
    AVX2 void name##_avx2(const Arguments&... arguments) { function<32>(arguments...); }                        \
    template <typename... Arguments>                                                                            \
    AVX512 void name##_avx512(const Arguments&... arguments) { function<64>(arguments...); }                    \
    template <typename... Arguments>                                                                            \
    void name(Processor processor, const Arguments&... arguments) {                                             \
        if (processor == Processor::kAvx512) return name##_avx512(arguments...);                                \
        if (processor == Processor::kAvx2) return name##_avx2(arguments...);                                    \
        name##_baseline(arguments...);                                                                          \
    }

ON_EACH_PROCESSOR(run_forward, forward_queries)
ON_EACH_PROCESSOR(run_backward, backward_level)

// ---- Threads

struct Resources {
    int threads;
    Processor processor;
};

constexpr double kWorthAThread = 2e6;  // multiply-adds; starting a thread takes as long as some hundred thousand
constexpr Index kQueries = 64;         // of one task: neighbors, whose samples are in the cache together

int threads_for(const Sizes& sizes, Index tasks, int threads) {
    const double work = 4.0 * sizes.batch * sizes.queries * sizes.heads * sizes.samples() * sizes.channels;
    const Index useful = std::min<Index>(tasks, static_cast<Index>(work / kWorthAThread));
    return static_cast<int>(std::clamp<Index>(useful, 1, std::max(threads, 1)));
}

// Calls run(thread, task) for every task.
template <typename Run>
void in_threads(int threads, Index tasks, const Run& run) {
    std::atomic<Index> next{0};
    const auto work = [&](int thread) {
        for (Index task; (task = next.fetch_add(1)) < tasks;) run(thread, task);
    };
    std::vector<std::thread> others;
    others.reserve(threads - 1);
    try {
        for (int thread = 1; thread < threads; ++thread) others.emplace_back(work, thread);
    } catch (const std::system_error&) {
        // No more threads to be had: those that there are do all of it.
    }
    work(0);
    for (std::thread& other : others) other.join();
}

template <typename Stored, typename Real>
void forward(const Sizes& sizes, const Inputs<Stored, Real>& in, Stored* out, const Resources& resources) {
    const Index queries = sizes.batch * sizes.queries, tasks = (queries + kQueries - 1) / kQueries;
    const int threads = threads_for(sizes, tasks, resources.threads);
    const std::unique_ptr<Weighted<Real>[]> samples(new Weighted<Real>[threads * sizes.samples()]);
    in_threads(threads, tasks, [&](int thread, Index task) {
        const Index first = task * kQueries, last = std::min(queries, first + kQueries);
        run_forward(resources.processor, sizes, in, out, first, last, samples.get() + thread * sizes.samples());
    });
}

template <typename Stored, typename Real>
void backward(
    const Sizes& sizes, const Inputs<Stored, Real>& in, const Stored* grad, const Gradients<Stored, Real>& out,
    const Resources& resources) {
    const Index levels = static_cast<Index>(sizes.levels.size()), tasks = sizes.batch * sizes.heads * levels;
    const int threads = threads_for(sizes, tasks, resources.threads);
    Index tokens = 0;
    for (const Level& level : sizes.levels) tokens = std::max(tokens, level.height * level.width);
    const Index scratch = (tokens + 1) * sizes.channels;
    const std::unique_ptr<Real[]> memory(new Real[threads * scratch]);
    in_threads(threads, tasks, [&](int thread, Index task) {
        const Index head = task / levels, number = task % levels;
        run_backward(
            resources.processor, sizes, in, grad, out, head / sizes.heads, head % sizes.heads, number,
            memory.get() + thread * scratch);
    });
}

}  // namespace

#ifndef WITHOUT_PYTHON

#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <initializer_list>
#include <stdexcept>
#include <string>
#include <utility>

namespace {

namespace py = pybind11;
using Address = std::uintptr_t;

using Buffer = std::pair<Address, Index>;  // contiguous memory, and how many numbers are there

// The product of sizes, none of which is negative.
Index product(std::initializer_list<Index> sizes) {
    Index result = 1;
    for (const Index size : sizes)
        if (size < 0 || __builtin_mul_overflow(result, size, &result))
            throw std::invalid_argument("a size is negative, or no memory holds so many numbers");
    return result;
}

template <typename T>
T* at(const Buffer& buffer, Index expected) {
    if (buffer.second != expected)
        throw std::invalid_argument("a tensor has " + std::to_string(buffer.second) + " numbers; expected " +
                                    std::to_string(expected) + ", as the sizes say");
    return reinterpret_cast<T*>(buffer.first);
}

Index numbers_of_value(const Sizes& sizes) {
    return product({sizes.batch, sizes.tokens, sizes.heads, sizes.channels});
}
Index numbers_of_result(const Sizes& sizes) {
    return product({sizes.batch, sizes.queries, sizes.heads, sizes.channels});
}
Index numbers_of_weights(const Sizes& sizes) {
    return product(
        {sizes.batch, sizes.queries, sizes.heads, static_cast<Index>(sizes.levels.size()), sizes.points});
}

// A value, locations and weights, or the gradients of these.
template <typename Tensors, typename Stored, typename Real>
Tensors tensors(const Sizes& sizes, const Buffer& value, const Buffer& locations, const Buffer& weights) {
    const Index samples = numbers_of_weights(sizes);
    return {at<Stored>(value, numbers_of_value(sizes)), at<Real>(locations, product({samples, 2})),
            at<Real>(weights, samples)};
}

// Levels follow one another and fill the value; of wider ones float would not count every pixel.
void require_levels(const Sizes& sizes) {
    constexpr Index kWidest = Index{1} << 24;
    Index next = 0;
    for (const Level& level : sizes.levels) {
        if (level.height < 1 || level.width < 1 || level.height > kWidest || level.width > kWidest)
            throw std::invalid_argument("a level has " + std::to_string(level.height) + " x " +
                                        std::to_string(level.width) + " tokens; expected 1 x 1 to 2^24 x 2^24");
        if (level.start != next)
            throw std::invalid_argument("a level starts at token " + std::to_string(level.start) + "; expected " +
                                        std::to_string(next) + ", one after the other");
        next += level.height * level.width;
        if (next > sizes.tokens) break;
    }
    if (next != sizes.tokens)
        throw std::invalid_argument("the levels have " + std::to_string(next) + " or more tokens; expected " +
                                    std::to_string(sizes.tokens) + ", as the value");
}

// The names of torch.dtype.
template <typename Run>
void with_type(const std::string& type, const Run& run) {
    if (type == "float32") return run(float{}, float{});
    if (type == "float64") return run(double{}, double{});
    if (type == "bfloat16") return run(BFloat16{}, float{});
    if (type == "float16") return run(Half{}, float{});
    throw std::invalid_argument("no kernel for " + type);
}

Resources resources(int threads, const std::string& processor) {
    const Processor best = best_processor();
    if (processor == "baseline") return {threads, Processor::kBaseline};
    if (processor == "avx2" && best >= Processor::kAvx2) return {threads, Processor::kAvx2};
    if (processor == "avx512" && best >= Processor::kAvx512) return {threads, Processor::kAvx512};
    throw std::invalid_argument("no kernel for the processor " + processor + " here");
}

}  // namespace

PYBIND11_MODULE(_ms_deform_attn, module) {
    module.doc() = "The compiled core of model.ops.cpu.";
    py::class_<Sizes>(module, "Sizes")
        .def(py::init([](Index batch, Index tokens, Index queries, Index heads, Index channels, Index points,
                         const std::vector<std::array<Index, 3>>& levels) {
            Sizes sizes{batch, tokens, queries, heads, channels, points, {}};
            for (const auto& [height, width, start] : levels) sizes.levels.push_back({height, width, start});
            require_levels(sizes);
            return sizes;
        }));
    module.def("processors", [] {
        const char* const names[] = {"baseline", "avx2", "avx512"};
        return std::vector<std::string>(names, names + static_cast<int>(best_processor()) + 1);
    });
    module.def("forward", [](const Sizes& sizes, const std::string& type, const Buffer& value,
                             const Buffer& locations, const Buffer& weights, const Buffer& out, int threads, const std::string& processor) {
        const Resources used = resources(threads, processor);
        const py::gil_scoped_release others_may_run;
        with_type(type, [&](auto stored, auto real) {
            using Stored = decltype(stored);
            using Real = decltype(real);
            forward(sizes, tensors<Inputs<Stored, Real>, Stored, Real>(sizes, value, locations, weights),
                    at<Stored>(out, numbers_of_result(sizes)), used);
        });
    });
    module.def("backward", [](const Sizes& sizes, const std::string& type, const Buffer& grad,
                              const Buffer& value, const Buffer& locations, const Buffer& weights,
                              const Buffer& grad_value, const Buffer& grad_locations, const Buffer& grad_weights,
                              int threads, const std::string& processor) {
        const Resources used = resources(threads, processor);
        const py::gil_scoped_release others_may_run;
        with_type(type, [&](auto stored, auto real) {
            using Stored = decltype(stored);
            using Real = decltype(real);
            const Gradients<Stored, Real> out = tensors<Gradients<Stored, Real>, Stored, Real>(
                sizes, grad_value, grad_locations, grad_weights);
            backward(sizes, tensors<Inputs<Stored, Real>, Stored, Real>(sizes, value, locations, weights),
                     at<Stored>(grad, numbers_of_result(sizes)), out, used);
        });
    });
}

#endif
