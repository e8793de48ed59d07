// The fast form of panoptic.evaluation.overlaps.count_overlaps_by_numpy: one walk down two id maps, with few passes over
// each row, which compilers vectorize. C++ rather than numba, which with numpy alone takes 88 MB of memory per process,
// more than a whole scoring process may take.
//
// A pixel is outside the band of its map if its whole window, (2 distance + 1) pixels each way, is inside the image and
// has one id. By rows: a pixel is level if the part of its row in the window has one id; the window has one id where a
// column has been level, with one id, for as many rows as the window is high.

#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <unordered_map>
#include <utility>
#include <vector>

namespace py = pybind11;

namespace {

using Index = std::ptrdiff_t;
using IdMap = py::array_t<std::int32_t, py::array::c_style>;

// An id in the low 24 bits, and above them a flag for pixels in the band.
using Label = std::uint32_t;
constexpr int kIdBits = 24;
constexpr Label kIdMask = (Label{1} << kIdBits) - 1;

struct Counts {
    std::int64_t pixels = 0;
    std::int64_t in_gt_band = 0;
    std::int64_t in_prediction_band = 0;
    std::int64_t in_both_bands = 0;
};

// Counts by pair of ids. A few pairs make up most of an image, so recently used ones are found without a search.
class Pairs {
  public:
    using Key = std::uint64_t;
    using Entry = std::pair<Key, Counts>;

    static Key key(Label gt, Label prediction) { return Key{gt & kIdMask} << 32 | (prediction & kIdMask); }

    Counts& operator[](Key key) {
        Recent& recent = recent_[key * 0x9E3779B97F4A7C15u >> 56];  // Fibonacci hashing
        if (!recent.counts || recent.key != key) recent = {key, &counts_[key]};
        return *recent.counts;
    }

    std::vector<Entry> sorted() const {
        std::vector<Entry> entries(counts_.begin(), counts_.end());
        std::sort(entries.begin(), entries.end(), [](const Entry& a, const Entry& b) { return a.first < b.first; });
        return entries;
    }

  private:
    struct Recent {
        Key key = 0;
        Counts* counts = nullptr;
    };
    std::unordered_map<Key, Counts> counts_;  // its elements keep their addresses as it grows
    std::array<Recent, 256> recent_;
};

// Returns the rows of an id map as labels, from first to last.
class BandedRows {
  public:
    BandedRows(const IdMap& ids, Index distance)
        : ids_(reinterpret_cast<const Label*>(ids.data())), height_(ids.shape(0)), width_(ids.shape(1)),
          // If no window fits into the image, none is examined.
          reach_(std::min(distance, std::min(height_, width_) / 2 + 1)), changes_(width_ + 2 * reach_),
          level_rows_(width_), labels_(width_) {}

    const Label* row(Index y) {
        const Label* ids = ids_ + y * width_;
        if (reach_ == 0) return ids;
        while (counted_ < std::min(y + reach_ + 1, height_)) count_row(counted_++);
        const Label window = 2 * reach_ + 1;
        const Label outside = y < reach_ || y + reach_ >= height_;
        const Label* level_rows = level_rows_.data();
        Label* labels = labels_.data();
        for (Index x = 0; x < width_; ++x) {
            labels[x] = ids[x] | (outside | Label{level_rows[x] < window}) << kIdBits;
        }
        return labels;
    }

  private:
    // Updates the number of rows, up to this one, for which each column has been level with one id.
    void count_row(Index y) {
        const Label* ids = ids_ + y * width_;
        const Label* above = y > 0 ? ids - width_ : ids;
        const Index width = width_, length = width_ + 2 * reach_;  // locals, because bytes may alias members, which prevents vectorizing
        // Marks where the id changes before a column, from `reach` - 1 columns before the image on; its edges count.
        std::fill(changes_.begin(), changes_.end(), 0);
        std::uint8_t* changes = changes_.data();
        std::uint8_t* inside = changes + reach_ - 1;
        for (Index x = 1; x < width; ++x) inside[x] = ids[x] != ids[x - 1];
        inside[0] = inside[width] = 1;
        // Marks where it changes within the window of a column: windows double until they are 2 `reach` changes wide.
        for (Index covered = 1, step; covered < 2 * reach_; covered += step) {
            step = std::min(covered, 2 * reach_ - covered);
            for (Index x = 0; x < length - step; ++x) changes[x] |= changes[x + step];
        }
        Label* rows = level_rows_.data();
        for (Index x = 0; x < width; ++x) {
            const Label goes_on = -Label{above[x] == ids[x]}, level = Label{changes[x]} - 1;
            rows[x] = ((rows[x] & goes_on) + 1) & level;
        }
    }

    const Label* ids_;
    Index height_, width_, reach_, counted_ = 0;
    std::vector<std::uint8_t> changes_;
    std::vector<Label> level_rows_, labels_;
};

// Splits rows into runs of pixels with one label in each map.
class Runs {
  public:
    explicit Runs(Index width) : width_(width), changes_(width + kBlock), starts_(width + kBlock + 1) {}

    // Afterwards, run k of `count` extends from start(k) to start(k + 1).
    Index find(const Label* gt, const Label* prediction) {
        std::uint8_t* changes = changes_.data();
        const Index width = width_;
        for (Index x = 1; x < width; ++x) {
            changes[x] = (gt[x] != gt[x - 1]) | (prediction[x] != prediction[x - 1]);
        }
        Index count = 1;
        for (Index x = 0; x < width; x += kBlock) {
            std::uint64_t block;
            std::memcpy(&block, changes + x, kBlock);
            if (block == 0) continue;
            // Without an unpredictable branch: what is not a start is overwritten by the next one.
            for (Index k = x; k < x + kBlock; ++k) {
                starts_[count] = k;
                count += changes[k];
            }
        }
        starts_[count] = width;
        return count;
    }

    Index start(Index run) const { return starts_[run]; }

  private:
    static constexpr Index kBlock = sizeof(std::uint64_t);
    Index width_;
    std::vector<std::uint8_t> changes_;  // padded with zeros to whole blocks
    std::vector<Index> starts_;
};

std::vector<Pairs::Entry> count(const IdMap& gt_ids, const IdMap& prediction_ids, Index distance) {
    const Index height = gt_ids.shape(0), width = gt_ids.shape(1);
    Pairs pairs;
    if (width == 0) return {};
    BandedRows gt_rows(gt_ids, distance), prediction_rows(prediction_ids, distance);
    Runs runs(width);
    for (Index y = 0; y < height; ++y) {
        const Label *gt_row = gt_rows.row(y), *prediction_row = prediction_rows.row(y);
        const Index count = runs.find(gt_row, prediction_row);
        for (Index run = 0; run < count; ++run) {
            const Index start = runs.start(run), pixels = runs.start(run + 1) - start;
            const Label gt = gt_row[start], prediction = prediction_row[start];
            Counts& counts = pairs[Pairs::key(gt, prediction)];
            counts.pixels += pixels;
            counts.in_gt_band += (gt >> kIdBits) * pixels;
            counts.in_prediction_band += (prediction >> kIdBits) * pixels;
            counts.in_both_bands += ((gt & prediction) >> kIdBits) * pixels;
        }
    }
    return pairs.sorted();
}

// (6, P), a row for each field of `Overlaps`. The caller has checked the arguments.
py::array_t<std::int64_t> count_overlaps(const IdMap& gt_ids, const IdMap& prediction_ids, Index distance) {
    std::vector<Pairs::Entry> entries;
    {
        py::gil_scoped_release unlocked;
        entries = count(gt_ids, prediction_ids, distance);
    }
    py::array_t<std::int64_t> table({Index{6}, static_cast<Index>(entries.size())});
    auto fields = table.mutable_unchecked<2>();
    for (Index pair = 0; pair < fields.shape(1); ++pair) {
        const auto& [key, counts] = entries[pair];
        fields(0, pair) = key >> 32;
        fields(1, pair) = key & kIdMask;
        fields(2, pair) = counts.pixels;
        fields(3, pair) = counts.in_gt_band;
        fields(4, pair) = counts.in_prediction_band;
        fields(5, pair) = counts.in_both_bands;
    }
    return table;
}

}  // namespace

PYBIND11_MODULE(_overlaps, module) {
    module.def("count_overlaps", &count_overlaps, py::arg("gt_ids"), py::arg("prediction_ids"), py::arg("distance"));
}
