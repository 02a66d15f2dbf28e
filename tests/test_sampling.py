"""The coupled sampler: its distribution, its independence of layout, and what it leaves alone."""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import torch
from scipy import stats
from transformers import DynamicCache, GenerationConfig, TopPLogitsWarper
from transformers.cache_utils import DynamicLayer, DynamicSlidingWindowLayer

from divmon.errors import InputError
from divmon.prompt import Prompt
from divmon.sampling import cache as cache_of_sampling
from divmon.sampling import room
from divmon.sampling.batches import Batch, pack
from divmon.sampling.cache import RoomyLayer, RoomySlidingLayer, make_room
from divmon.sampling.coupled import CoupledSampler
from divmon.sampling.generate import BatchGenerator
from divmon.sampling.guard import end_token_ids, untouched
from divmon.sampling.likelihood import mean_logprobs
from divmon.sampling.noise import exponential_noise, stream_key
from divmon.sampling.render import Renderer
from divmon.sampling.sampler import SamplingError, sample
from divmon.sampling.settings import SamplingSettings
from divmon.shape import Shape
from tests.tiny import HELD_OUT, QUESTIONS, tiny_llama, tiny_olmo3, tiny_tokenizer

SETTINGS = SamplingSettings(samples=4, max_new_tokens=12)


def rendered(texts=(*HELD_OUT, *QUESTIONS[:3])):
    renderer = Renderer(tiny_tokenizer())
    return [renderer.render(Prompt(id=str(i), text=text)) for i, text in enumerate(texts)]


def tokens_of(samples) -> list[list[tuple[int, ...]]]:
    return [[completion.token_ids for completion in prompt.completions] for prompt in samples.prompts]


def exact_nucleus(logits: torch.Tensor, temperature: float, top_p: float) -> torch.Tensor:
    """transformers' own warpers, in float64."""
    scores = TopPLogitsWarper(top_p)(None, logits.double()[None] / temperature)
    return scores.softmax(dim=-1)[0]


class TestCache:
    @pytest.mark.parametrize("first", [1, 4, 1000])
    @pytest.mark.parametrize("prompt", [2, 4, 9])
    def test_layers_with_room_hold_what_transformers_own_do(self, prompt, first, monkeypatch):
        """Through several windows: in the middle of the room, at its end, and just moved to the front."""
        monkeypatch.setattr(cache_of_sampling, "FIRST", first)
        rows = torch.tensor([0, 0, 1, 1, 1])

        def states(count, seed):
            noise = torch.Generator().manual_seed(seed)
            return (torch.randn(len(rows), 2, count, size, generator=noise) for size in (3, 5))

        for make, roomy in ((DynamicLayer, RoomyLayer), (lambda: DynamicSlidingWindowLayer(4), RoomySlidingLayer)):
            own, source = make(), make()
            for layer in (own, source):
                keys, values = states(prompt, 0)
                layer.update(keys[[0, 2]], values[[0, 2]])
            own.batch_select_indices(rows)
            ours = roomy(source, rows, prompt + 30)
            for step in range(1, 29):
                count = 2 if step == 11 else 1
                assert ours.get_mask_sizes(count) == own.get_mask_sizes(count)
                for found, expected in zip(
                    ours.update(*states(count, step)), own.update(*states(count, step)), strict=True
                ):
                    assert torch.equal(found, expected), (roomy, step)
                assert torch.equal(ours.keys, own.keys)
                assert ours.get_seq_length() == own.get_seq_length()

    def test_a_batch_takes_its_memory_in_few_blocks(self, monkeypatch):
        monkeypatch.setattr(cache_of_sampling, "FIRST", 16)
        layer = DynamicLayer()
        layer.update(torch.zeros(1, 1, 4, 2), torch.zeros(1, 1, 4, 2))
        roomy, sizes = RoomyLayer(layer, torch.tensor([0] * 3), 100), []
        for _ in range(96):
            roomy.update(torch.zeros(3, 1, 1, 2), torch.zeros(3, 1, 1, 2))
            sizes.append(roomy._keys.shape[2])
        assert list(dict.fromkeys(sizes)) == [20, 30, 45, 67, 100]

    def test_a_batch_of_few_tokens_takes_its_memory_once(self):
        cache = DynamicCache(config=tiny_olmo3().config)
        tiny_olmo3()(torch.ones((2, 5), dtype=torch.long), past_key_values=cache, use_cache=True)
        make_room(cache, torch.tensor([0, 0, 1]), 40)
        assert {type(layer) for layer in cache.layers} == {RoomyLayer, RoomySlidingLayer}
        places = [layer._keys.data_ptr() for layer in cache.layers]
        model = tiny_olmo3()
        for _ in range(35):
            model(torch.ones((3, 1), dtype=torch.long), past_key_values=cache, use_cache=True)
        assert [layer._keys.data_ptr() for layer in cache.layers] == places
        assert [layer.get_seq_length() for layer in cache.layers] == [40] * len(places)

    def test_cudnn_is_off_for_attention_and_comes_back(self):
        for before in (True, False):
            torch.backends.cuda.enable_cudnn_sdp(before)
            with untouched(tiny_llama()):
                assert not torch.backends.cuda.cudnn_sdp_enabled()
            assert torch.backends.cuda.cudnn_sdp_enabled() is before
        torch.backends.cuda.enable_cudnn_sdp(True)


class TestDistribution:
    @pytest.mark.parametrize(("temperature", "top_p"), [(0.6, 0.95), (1.0, 1.0), (1.0, 0.5), (0.2, 0.9)])
    def test_frequencies_are_those_of_temperature_and_top_p(self, temperature, top_p):
        draws, vocabulary = 20_000, 40
        logits = torch.randn(vocabulary, generator=torch.Generator().manual_seed(5)) * 2
        keys = torch.tensor([stream_key(0, "p", sample) for sample in range(draws)])
        sampler = CoupledSampler(keys, 3, temperature, top_p)
        scores = sampler(torch.zeros(draws, 3 + 7, dtype=torch.long), logits.repeat(draws, 1))
        counts = np.bincount(scores.argmax(dim=1).numpy(), minlength=vocabulary)
        expected = exact_nucleus(logits, temperature, top_p).numpy() * draws
        assert counts[expected == 0].sum() == 0
        inside = expected > 0
        if inside.sum() > 1:
            # Cells of fewer than five expected draws are merged, as the test's approximation asks.
            small = inside & (expected < 5)
            large = inside & ~small
            observed = np.append(counts[large], counts[small].sum())
            wanted = np.append(expected[large], expected[small].sum())
            kept = wanted > 0
            assert stats.chisquare(observed[kept], wanted[kept]).pvalue > 1e-3

    def test_a_nucleus_wider_than_the_candidates_is_exact(self):
        # Flat over 2,000 tokens: the nucleus of 0.95 holds 1,900 of them, far more than the candidates.
        draws, vocabulary = 20_000, 2_000
        keys = torch.tensor([stream_key(1, "p", sample) for sample in range(draws)])
        logits = torch.linspace(0.01, 0.0, vocabulary)
        scores = CoupledSampler(keys, 0, 1.0, 0.95)(torch.zeros(draws, 0, dtype=torch.long), logits.repeat(draws, 1))
        drawn = scores.argmax(dim=1).numpy()
        inside = (exact_nucleus(logits, 1.0, 0.95) > 0).numpy()
        assert inside[drawn].all()
        observed = np.histogram(drawn, bins=20, range=(0, inside.sum()))[0]
        expected = exact_nucleus(logits, 1.0, 0.95).numpy()[: inside.sum()]
        wanted = np.add.reduceat(expected, np.linspace(0, inside.sum(), 20, endpoint=False).astype(int)) * draws
        assert stats.chisquare(observed, wanted * observed.sum() / wanted.sum()).pvalue > 1e-3

    def test_one_token_stays_finite(self):
        scores = CoupledSampler(torch.tensor([1, 2]), 0, 1.0, 0.9)(
            torch.zeros(2, 0, dtype=torch.long), torch.zeros(2, 9)
        )
        assert torch.isfinite(scores).sum(dim=1).tolist() == [1, 1]

    def test_masked_tokens_leave_entropy_finite(self):
        logits = torch.tensor([[1.0, 1.0, -torch.inf, -torch.inf]])
        sampler = CoupledSampler(torch.tensor([5]), 0, 1.0, 1.0)
        scores = sampler(torch.zeros(1, 0, dtype=torch.long), logits)
        assert scores.argmax().item() in (0, 1)
        # Two tokens of probability 1/2: entropy log 2, log-probability -log 2.
        assert sampler.entropies().item() == pytest.approx(np.log(2))
        assert sampler.logprobs().item() == pytest.approx(-np.log(2))

    def test_noise_is_exponential_and_uncorrelated(self):
        keys = torch.tensor([stream_key(0, "p", sample) for sample in range(200)])
        tokens = torch.arange(300).repeat(200, 1)
        first, second = (exponential_noise(keys, position, tokens).double().numpy() for position in (0, 1))
        assert stats.kstest(first.ravel(), "expon").pvalue > 1e-3
        for other in (second, np.roll(first, 1, axis=1), np.roll(first, 1, axis=0)):
            # 60,000 pairs: the standard error of a correlation is 0.004.
            assert abs(np.corrcoef(first.ravel(), other.ravel())[0, 1]) < 0.02

    def test_noise_is_the_published_splitmix64(self):
        # Reference in Python's own integers.
        mask = (1 << 64) - 1

        def mix(x: int) -> int:
            x = ((x ^ (x >> 30)) * 0xBF58476D1CE4E5B9) & mask
            x = ((x ^ (x >> 27)) * 0x94D049BB133111EB) & mask
            return x ^ (x >> 31)

        key = stream_key(3, "prompt", 7)
        row = mix((key + 0xD1B54A32D192ED03 * 6) & mask)
        bits = mix((row + 42 * 0x9E3779B97F4A7C15) & mask) >> 41
        expected = -np.log1p(-(bits + 0.5) * 2.0**-23)
        assert exponential_noise(torch.tensor([key]), 5, torch.tensor([[41]])).item() == pytest.approx(
            expected, rel=1e-6
        )
        # The test value of the SplitMix64 paper's generator seeded with 0.
        assert mix(0x9E3779B97F4A7C15) == 0xE220A8397B1DCDAF


class TestLayout:
    """fp32 on a CPU: 8 prompts x 4 samples x 12 tokens; completions agree token for token whatever the layout."""

    @pytest.mark.parametrize("make", [tiny_llama, tiny_olmo3])
    def test_completions_do_not_depend_on_batches_or_order(self, make):
        model, tokenizer, prompts = make(), tiny_tokenizer(), rendered()
        reference = tokens_of(sample(model, tokenizer, prompts, SETTINGS))
        small = SamplingSettings(samples=4, max_new_tokens=12, batch_tokens=100)
        assert tokens_of(sample(model, tokenizer, prompts, small)) == reference
        assert tokens_of(sample(model, tokenizer, prompts[::-1], SETTINGS)) == reference[::-1]
        assert len({tuple(row) for row in reference}) == len(reference)

    @pytest.mark.parametrize("make", [tiny_llama, tiny_olmo3])
    def test_completions_do_not_depend_on_the_shared_prefill(self, make):
        model, tokenizer, prompts = make(), tiny_tokenizer(), rendered()
        batch = pack([len(prompt.token_ids) for prompt in prompts], 4, 12, 10_000)[0]
        with untouched(model):
            shared = BatchGenerator(model, tokenizer, SETTINGS).run(batch, prompts)
            alone = BatchGenerator(model, tokenizer, SETTINGS, share_prefill=False).run(batch, prompts)
        assert [c.token_ids for c in shared] == [c.token_ids for c in alone]

    def test_completions_do_not_depend_on_the_number_of_processes(self):
        model, tokenizer, prompts = tiny_llama(), tiny_tokenizer(), rendered()
        reference = tokens_of(sample(model, tokenizer, prompts, SETTINGS))
        shares = [sample_share(model, tokenizer, prompts, index, 3) for index in range(3)]
        joined = {place: row for share in shares for place, row in share.items()}
        assert [[c.token_ids for c in joined[place]] for place in range(len(prompts))] == reference

    def test_samples_of_more_is_a_prefix(self):
        model, tokenizer, prompts = tiny_llama(), tiny_tokenizer(), rendered()
        four = tokens_of(sample(model, tokenizer, prompts, SETTINGS))
        six = tokens_of(sample(model, tokenizer, prompts, SamplingSettings(samples=6, max_new_tokens=12)))
        assert [row[:4] for row in six] == four

    def test_another_seed_gives_other_completions(self):
        model, tokenizer, prompts = tiny_llama(), tiny_tokenizer(), rendered()
        one = tokens_of(sample(model, tokenizer, prompts, SETTINGS))
        other = tokens_of(sample(model, tokenizer, prompts, SamplingSettings(samples=4, max_new_tokens=12, seed=1)))
        assert one != other


def sample_share(model, tokenizer, prompts, index, count):
    """What one of several processes generates."""
    found: dict[int, Any] = {}

    @dataclass
    class One:
        index: int
        count: int

        def gather(self, values):
            found.update(values[0][2].completions)
            raise InterruptedError

    with pytest.raises(InterruptedError):
        sample(model, tokenizer, prompts, SETTINGS, processes=One(index, count))
    return found


class TestNumbers:
    @pytest.mark.parametrize("make", [tiny_llama, tiny_olmo3])
    def test_entropy_and_likelihood_equal_a_teacher_forced_pass(self, make):
        model, tokenizer, prompts = make(), tiny_tokenizer(), rendered()
        samples = sample(model, tokenizer, prompts, SETTINGS)
        for prompt in samples.prompts:
            for completion in prompt.completions:
                ids = torch.tensor([[*prompt.rendered.token_ids, *completion.token_ids]])
                with torch.no_grad():
                    logprobs = model(input_ids=ids).logits[0, -len(completion.token_ids) - 1 : -1].log_softmax(-1)
                chosen = logprobs.gather(1, torch.tensor(completion.token_ids)[:, None])
                entropy = -(logprobs.exp() * logprobs).sum(dim=1)
                assert completion.logprob == pytest.approx(chosen.mean().item(), abs=1e-4)
                assert completion.entropy == pytest.approx(entropy.mean().item(), abs=1e-4)

    def test_mean_logprobs_equal_those_of_sampling(self):
        model, tokenizer, prompts = tiny_llama(), tiny_tokenizer(), rendered()
        samples = sample(model, tokenizer, prompts, SETTINGS)
        rows = [(p.rendered.token_ids, c) for p in samples.prompts for c in p.completions]
        values = mean_logprobs(model, [row[0] for row in rows], [row[1].token_ids for row in rows], 0)
        assert values == pytest.approx([completion.logprob for _, completion in rows], abs=1e-4)

    def test_an_end_token_ends_and_the_limit_truncates(self):
        samples = sample(tiny_llama(), tiny_tokenizer(), rendered(), SamplingSettings(samples=8, max_new_tokens=40))
        end = tiny_tokenizer().eos_token_id
        completions = [c for p in samples.prompts for c in p.completions]
        assert {c.truncated for c in completions} == {True, False}
        for completion in completions:
            assert completion.truncated == (end not in completion.token_ids)
            assert len(completion.token_ids) == 40 if completion.truncated else completion.token_ids[-1] == end
            assert "<eos>" not in completion.text


class TestLeaveAlone:
    def test_random_states_modes_and_tokenizer(self):
        model, tokenizer = tiny_llama(), tiny_tokenizer()
        model.train()
        model.model.layers[0].eval()
        modes = [module.training for module in model.modules()]
        before = (random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state().tolist())
        attributes = (tokenizer.padding_side, tokenizer.pad_token, tokenizer.truncation_side, tokenizer.chat_template)
        config = model.generation_config
        sample(model, tokenizer, rendered(), SETTINGS)
        after = (random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state().tolist())
        assert before == after
        assert [module.training for module in model.modules()] == modes
        assert attributes == (
            tokenizer.padding_side,
            tokenizer.pad_token,
            tokenizer.truncation_side,
            tokenizer.chat_template,
        )
        assert model.generation_config is config
        assert torch.is_grad_enabled()

    def test_restored_after_a_failure(self, monkeypatch):
        model, tokenizer = tiny_llama(), tiny_tokenizer()
        model.train()
        config = model.generation_config
        monkeypatch.setattr(model, "generate", fails(ValueError("boom"), touch=model))
        with pytest.raises(SamplingError, match="process 0: ValueError: boom"):
            sample(model, tokenizer, rendered(), SETTINGS)
        assert model.training
        assert model.generation_config is config

    def test_the_checkpoints_generation_settings_are_neutral(self):
        model, tokenizer, prompts = tiny_llama(), tiny_tokenizer(), rendered()
        plain = tokens_of(sample(model, tokenizer, prompts, SETTINGS))
        model.generation_config = GenerationConfig(
            repetition_penalty=5.0, min_new_tokens=11, no_repeat_ngram_size=1, eos_token_id=1, pad_token_id=0
        )
        assert tokens_of(sample(model, tokenizer, prompts, SETTINGS)) == plain
        assert model.generation_config.repetition_penalty == 5.0

    def test_every_end_token_counts(self):
        model, tokenizer = tiny_llama(), tiny_tokenizer()
        model.generation_config.eos_token_id = [7, 9]
        assert end_token_ids(model, tokenizer) == [1, 7, 9]


def fails(error: Exception, touch: torch.nn.Module | None = None):
    def generate(*_: Any, **__: Any):
        if touch is not None:
            torch.rand(3)
        raise error

    return generate


def test_progress_goes_by_decode_step():
    seen: list[tuple[int, int]] = []
    settings = SamplingSettings(samples=4, max_new_tokens=12, batch_tokens=500)
    prompts = rendered()
    sample(tiny_llama(), tiny_tokenizer(), prompts, settings, progress=lambda *pair: seen.append(pair))
    total = len(prompts) * 4 * 12
    assert seen[0] == (0, total)
    assert seen[-1] == (total, total)
    assert len(seen) > 12
    assert [done for done, _ in seen] == sorted(done for done, _ in seen)


class TestMemory:
    def test_a_batch_is_no_larger_than_the_memory_has_room_for(self, monkeypatch):
        """What a GPU's driver says is given here; scripts/measure_recipes.py holds it against a real one."""
        model, prompts = tiny_llama(), rendered()
        reference = sample(model, tiny_tokenizer(), prompts, SETTINGS)
        config = model.config
        width = max(len(prompt.token_ids) for prompt in prompts) + SETTINGS.max_new_tokens
        heads = config.head_dim * config.num_key_value_heads
        a_row = 2 * 4 * width * heads * config.num_hidden_layers + 4 * room.LOGITS * config.vocab_size
        monkeypatch.setattr(room, "_free_bytes", lambda device: round(6.5 * a_row / room.SHARE))
        samples = sample(model, tiny_tokenizer(), prompts, SETTINGS)
        assert (samples.layout.rows, samples.layout.halvings) == (6, 0)
        assert tokens_of(samples) == tokens_of(reference)
        monkeypatch.setattr(room, "_free_bytes", lambda device: 1)
        assert sample(model, tiny_tokenizer(), prompts[:1], SETTINGS).layout.rows == 1
        assert room.rows_that_fit(model, width) == 1
        del model.config.num_attention_heads, model.config.head_dim
        assert room.rows_that_fit(model, width) is None

    def test_a_layer_that_slides_keeps_its_window(self):
        shape = Shape.of(tiny_olmo3().config.to_dict())
        window = max(each for each in shape.windows if each)
        more = room.bytes_of_a_row(shape, 8 * window, 2) - room.bytes_of_a_row(shape, 4 * window, 2)
        assert more == shape.windows.count(None) * 2 * 2 * 4 * window * shape.keys

    def test_a_batch_without_memory_is_halved(self, monkeypatch):
        model, tokenizer, prompts = tiny_llama(), tiny_tokenizer(), rendered()
        reference = sample(model, tokenizer, prompts, SETTINGS)
        run = BatchGenerator.run
        sizes: list[int] = []

        def hungry(self, batch, share, on_token=None):
            sizes.append(len(batch.rows))
            if len(batch.rows) > 10:
                raise torch.OutOfMemoryError("CUDA out of memory.")
            return run(self, batch, share)

        monkeypatch.setattr(BatchGenerator, "run", hungry)
        samples = sample(model, tokenizer, prompts, SETTINGS)
        assert tokens_of(samples) == tokens_of(reference)
        assert sizes == [32, 16, 8, 8, 8, 8]
        assert (samples.layout.halvings, samples.layout.rows) == (2, 8)
        assert (reference.layout.halvings, reference.layout.rows) == (0, 32)

    def test_one_row_without_memory_is_an_error(self, monkeypatch):
        monkeypatch.setattr(BatchGenerator, "run", fails(torch.OutOfMemoryError("CUDA out of memory.")))
        with pytest.raises(SamplingError, match="OutOfMemoryError"):
            sample(tiny_llama(), tiny_tokenizer(), rendered(), SETTINGS)

    def test_packing_is_bounded_and_complete(self):
        lengths = [5, 50, 20, 20, 7]
        batches = pack(lengths, 3, 10, 100)
        rows = [row for batch in batches for row in batch.rows]
        assert sorted(rows) == [(prompt, k) for prompt in range(5) for k in range(3)]
        for batch in batches:
            width = max(lengths[prompt] for prompt, _ in batch.rows) + 10
            assert len(batch.rows) * width <= 100 or len(batch.rows) == 1
        assert pack([500], 2, 10, 100) == [Batch(((0, 0),)), Batch(((0, 1),))]


@pytest.mark.parametrize(
    ("option", "value", "expected"),
    [
        ("samples", 1, "samples: expected at least 2"),
        ("temperature", 0, "temperature: expected above 0"),
        ("top_p", 1.5, "top_p: expected in"),
        ("max_new_tokens", 0, "max_new_tokens: expected at least 1"),
        ("thinking", "yes", "thinking: expected"),
    ],
)
def test_settings_out_of_range(option, value, expected):
    with pytest.raises(InputError, match=expected):
        SamplingSettings(**{option: value})
