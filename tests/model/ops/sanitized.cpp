// Random shapes through every kernel, for a build with -fsanitize=address,undefined. Every tensor is a block of memory of
// its own, so that a step beyond it is seen. Prints how many shapes there were.

#define WITHOUT_PYTHON
#include "../../../model/ops/_ms_deform_attn.cpp"

#include <cmath>
#include <cstdio>
#include <limits>
#include <random>

namespace {

std::mt19937 generator(0);

Index draw(Index least, Index most) { return std::uniform_int_distribution<Index>(least, most)(generator); }

template <typename Real>
std::vector<Real> places(Index count) {
    const Real odd[] = {std::nan(""), std::numeric_limits<Real>::infinity(), Real(-1e30), Real(0), Real(1)};
    std::uniform_real_distribution<Real> near(Real(-0.3), Real(1.3));
    std::vector<Real> drawn(count);
    for (Real& place : drawn) place = draw(0, 9) ? near(generator) : odd[draw(0, 4)];
    return drawn;
}

template <typename Stored, typename Real>
void check(const Resources& resources) {
    Sizes sizes{draw(0, 2), draw(0, 1), draw(0, 80), draw(1, 3), draw(1, 70), draw(1, 4), {}};
    for (Index level = draw(1, 4); level > 0; --level) {
        sizes.levels.push_back({draw(1, 9), draw(1, 9), sizes.tokens});
        sizes.tokens += sizes.levels.back().height * sizes.levels.back().width + draw(0, 1);
    }
    const Index samples = sizes.batch * sizes.queries * sizes.heads * sizes.samples();
    const Index width = sizes.heads * sizes.channels;
    std::vector<Stored> value(sizes.batch * sizes.tokens * width), grad_value = value;
    std::vector<Stored> out(sizes.batch * sizes.queries * width), grad = out;
    for (Stored& number : value) store(std::uniform_real_distribution<Real>(-1, 1)(generator), &number);
    const std::vector<Real> locations = places<Real>(2 * samples), weights(samples, Real(0.5));
    std::vector<Real> grad_locations(2 * samples), grad_weights(samples);
    const Inputs<Stored, Real> in{value.data(), locations.data(), weights.data()};
    forward(sizes, in, out.data(), resources);
    backward<Stored, Real>(
        sizes, in, grad.data(), {grad_value.data(), grad_locations.data(), grad_weights.data()}, resources);
}

}  // namespace

int main() {
    int shapes = 0;
    for (int processor = 0; processor <= static_cast<int>(best_processor()); ++processor) {
        for (int round = 0; round < 60; ++round, shapes += 4) {
            const Resources resources{2, static_cast<Processor>(processor)};
            check<float, float>(resources);
            check<double, double>(resources);
            check<BFloat16, float>(resources);
            check<Half, float>(resources);
        }
    }
    std::printf("%d shapes\n", shapes);
}
