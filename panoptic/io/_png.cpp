// Undoes the row filters of an 8-bit RGB PNG (PNG specification, section 9) straight into segment ids.
//
// Each byte is stored as its difference, modulo 256, from a prediction made of the same byte of the pixel to the left,
// above, and above to the left; outside the image these are 0. A pixel is held as its id, R + 256 G + 65536 B, and
// its three bytes are treated at once. In an id map nearly all differences are 0, so blocks of them have a short cut.

#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

namespace py = pybind11;

namespace {

using Id = std::uint32_t;
constexpr std::size_t kBytes = 3;   // of a pixel
constexpr std::size_t kBlock = 8;   // pixels

Id load(const unsigned char* pixel) { return pixel[0] | Id{pixel[1]} << 8 | Id{pixel[2]} << 16; }

bool all_zero(const unsigned char* block) {
    std::uint64_t words[kBytes * kBlock / sizeof(std::uint64_t)];
    std::memcpy(words, block, sizeof words);
    return (words[0] | words[1] | words[2]) == 0;
}

// Byte by byte: the carry out of each lower seven bits is kept from the next byte.
Id add(Id a, Id b) { return ((a & 0x7f7f7f) + (b & 0x7f7f7f)) ^ ((a ^ b) & 0x808080); }

Id mean(Id a, Id b) { return (a & b) + (((a ^ b) & 0xfefefe) >> 1); }

// Of left, above and corner (above to the left) the one that is nearest to left + above - corner, byte by byte.
Id nearest(Id left, Id above, Id corner) {
    // The rule gives the same here; elsewhere than on the outline of a segment it is one of the two.
    if (above == corner) return left;
    if (left == corner) return above;
    Id chosen = 0;
    for (int shift = 0; shift < 24; shift += 8) {
        const int a = left >> shift & 0xff, b = above >> shift & 0xff, c = corner >> shift & 0xff;
        const int from_a = std::abs(b - c), from_b = std::abs(a - c), from_c = std::abs(a + b - 2 * c);
        const int value = from_a <= from_b && from_a <= from_c ? a : from_b <= from_c ? b : c;
        chosen |= static_cast<Id>(value) << shift;
    }
    return chosen;
}

// What each filter predicts; and a block of pixels that all are as predicted, of which the last is returned.

struct None {
    static Id predict(Id, Id, Id) { return 0; }
    static Id block(Id, Id, const Id*, Id* row) {
        std::fill_n(row, kBlock, 0);
        return 0;
    }
};

struct Sub {
    static Id predict(Id left, Id, Id) { return left; }
    static Id block(Id left, Id, const Id*, Id* row) {
        std::fill_n(row, kBlock, left);
        return left;
    }
};

struct Up {
    static Id predict(Id, Id above, Id) { return above; }
    static Id block(Id, Id, const Id* above, Id* row) {
        std::copy_n(above, kBlock, row);
        return above[kBlock - 1];
    }
};

struct Average {
    static Id predict(Id left, Id above, Id) { return mean(left, above); }
    static Id block(Id left, Id, const Id* above, Id* row) {
        for (std::size_t x = 0; x < kBlock; ++x) row[x] = left = mean(left, above[x]);
        return left;
    }
};

struct Paeth {
    static Id predict(Id left, Id above, Id corner) { return nearest(left, above, corner); }
    static Id block(Id left, Id corner, const Id* above, Id* row) {
        if (std::all_of(above, above + kBlock, [corner](Id id) { return id == corner; })) {
            return Sub::block(left, corner, above, row);
        }
        for (std::size_t x = 0; x < kBlock; ++x) {
            row[x] = left = nearest(left, above[x], corner);
            corner = above[x];
        }
        return left;
    }
};

template <typename Filter>
void unfilter_row(const unsigned char* stored, const Id* above, Id* row, std::size_t width) {
    Id left = 0, corner = 0;
    std::size_t x = 0;
    while (x < width) {
        const std::size_t end = std::min(x + kBlock, width);
        if (end - x == kBlock && all_zero(stored + kBytes * x)) {
            left = Filter::block(left, corner, above + x, row + x);
            corner = above[end - 1];
            x = end;
            continue;
        }
        for (; x < end; ++x) {
            row[x] = left = add(Filter::predict(left, above[x], corner), load(stored + kBytes * x));
            corner = above[x];
        }
    }
}

void unfilter_row(int filter, const unsigned char* stored, const Id* above, Id* row, std::size_t width) {
    switch (filter) {
        case 0: return unfilter_row<None>(stored, above, row, width);
        case 1: return unfilter_row<Sub>(stored, above, row, width);
        case 2: return unfilter_row<Up>(stored, above, row, width);
        case 3: return unfilter_row<Average>(stored, above, row, width);
        case 4: return unfilter_row<Paeth>(stored, above, row, width);
    }
    throw std::invalid_argument("row filter " + std::to_string(filter) + "; a PNG has 0 to 4");
}

py::array_t<std::int32_t> unfilter(std::string_view rows, std::size_t height, std::size_t width) {
    const std::size_t row_bytes = 1 + kBytes * width;
    // Divided, because a product may exceed 64 bits; a row has more bytes than pixels.
    if (width > rows.size() || rows.size() / row_bytes != height || rows.size() % row_bytes != 0) {
        throw std::invalid_argument(std::to_string(rows.size()) + " bytes do not make " + std::to_string(height) +
                                    " rows of 1 + 3 * " + std::to_string(width));
    }
    py::array_t<std::int32_t> ids({height, width});
    const auto* stored = reinterpret_cast<const unsigned char*>(rows.data());
    Id* row = reinterpret_cast<Id*>(ids.mutable_data());
    {
        py::gil_scoped_release unlocked;
        const std::vector<Id> outside(width, 0);
        const Id* above = outside.data();
        for (std::size_t y = 0; y < height; ++y) {
            unfilter_row(stored[0], stored + 1, above, row, width);
            stored += row_bytes;
            above = row;
            row += width;
        }
    }
    return ids;
}

}  // namespace

PYBIND11_MODULE(_png, module) {
    module.def("unfilter", &unfilter, py::arg("rows"), py::arg("height"), py::arg("width"));
}
