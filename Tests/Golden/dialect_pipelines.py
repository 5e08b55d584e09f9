"""Tiny diffusers pipelines and single-file checkpoints in original layouts, with random weights."""

import math
from pathlib import Path

import diffusers
import models
import torch
import transformers
from dialect_cases import save_json, seed_of
from safetensors.torch import load_file, save_file

diffusers.utils.logging.set_verbosity_error()


def randomise(model, seed):
    """Random values of a usual scale for every parameter, also of convolutions and group norms."""
    generator = torch.Generator().manual_seed(seed)
    for name, parameter in sorted(model.named_parameters()):
        noise = torch.randn(parameter.shape, generator=generator)
        if parameter.ndim == 1:
            noise = 0.1 * noise + (1.0 if "norm" in name and name.endswith("weight") else 0.0)
        else:
            noise = noise / math.sqrt(parameter[0].numel())
        parameter.data.copy_(noise)
    return model.eval()


def clip(hidden, projection=False, layers=1):
    """A CLIP text encoder."""
    config = transformers.CLIPTextConfig(
        vocab_size=20, hidden_size=hidden, intermediate_size=hidden + 4, num_hidden_layers=layers,
        num_attention_heads=2, max_position_embeddings=8, projection_dim=hidden, bos_token_id=0, eos_token_id=1,
        pad_token_id=1,
    )  # fmt: skip
    return (transformers.CLIPTextModelWithProjection if projection else transformers.CLIPTextModel)(config)


def t5(hidden):
    """A T5 encoder."""
    config = transformers.T5Config(vocab_size=20, d_model=hidden, d_kv=4, d_ff=hidden + 4, num_layers=1, num_heads=2)
    return transformers.T5EncoderModel(config)


def unet_sd1(width, cross):
    """Stable Diffusion 1: attention in the first block only, 1x1 convolutions around it."""
    return diffusers.UNet2DConditionModel(
        sample_size=8, block_out_channels=(width, 2 * width), layers_per_block=1, norm_num_groups=4,
        down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"), up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"),
        cross_attention_dim=cross, attention_head_dim=2,
    )  # fmt: skip


def unet_sdxl(width, cross):
    """Stable Diffusion XL: three blocks as the original, the last two with attention; linear projections."""
    return diffusers.UNet2DConditionModel(
        sample_size=8, block_out_channels=(width, width, 2 * width), layers_per_block=2, norm_num_groups=4,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"), cross_attention_dim=cross,
        attention_head_dim=(1, 2, 2), transformer_layers_per_block=(1, 1, 1), use_linear_projection=True,
        addition_embed_type="text_time", addition_time_embed_dim=4, projection_class_embeddings_input_dim=32,
    )  # fmt: skip


def flux(heads, width=8):
    """FLUX.1: one double and one single block."""
    return diffusers.FluxTransformer2DModel(
        in_channels=4, num_layers=1, num_single_layers=1, attention_head_dim=width, num_attention_heads=heads,
        joint_attention_dim=12, pooled_projection_dim=8, axes_dims_rope=(2, 2, 4), guidance_embeds=True,
    )  # fmt: skip


def sd3(heads, width=8):
    """Stable Diffusion 3: two blocks, the last without the context's output."""
    return diffusers.SD3Transformer2DModel(
        sample_size=4, patch_size=1, in_channels=4, num_layers=2, attention_head_dim=width, num_attention_heads=heads,
        joint_attention_dim=12, caption_projection_dim=heads * width, pooled_projection_dim=8, out_channels=4,
        pos_embed_max_size=4,
    )  # fmt: skip


INDEX = {
    "sd1": ("StableDiffusionPipeline", {"unet": "UNet2DConditionModel", "text_encoder": "CLIPTextModel"}),
    "sdxl": ("StableDiffusionXLPipeline", {"unet": "UNet2DConditionModel", "text_encoder": "CLIPTextModel",
                                           "text_encoder_2": "CLIPTextModelWithProjection"}),
    "flux": ("FluxPipeline", {"transformer": "FluxTransformer2DModel", "text_encoder": "CLIPTextModel"}),
    "sd3": ("StableDiffusion3Pipeline", {"transformer": "SD3Transformer2DModel", "text_encoder":
                                         "CLIPTextModelWithProjection"}),
}  # fmt: skip


def components(kind, size):
    """The modules of a pipeline with undefined weights."""
    width = size.hidden // (4 if kind == "sdxl" else 2)
    if kind == "sd1":
        return {"unet": unet_sd1(width, 12), "text_encoder": clip(12)}
    if kind == "sdxl":
        parts = {"text_encoder": clip(8), "text_encoder_2": clip(12, projection=True)}
        return {"unet": unet_sdxl(width, 20)} | parts
    if kind == "flux":
        return {"transformer": flux(max(size.heads // 4, 1)), "text_encoder": clip(8)}
    return {"transformer": sd3(max(size.heads // 4, 1)), "text_encoder": clip(8, projection=True)}


def make(kind, directory, size, seed):
    """Write the pipeline as diffusers lays it out: one folder a component, and model_index.json."""
    directory = Path(directory)
    name, classes = INDEX[kind]
    index = {"_class_name": name, "_diffusers_version": diffusers.__version__}
    for folder, module in components(kind, size).items():
        randomise(module, seed_of(f"{kind}/{folder}", seed)).save_pretrained(str(directory / folder))
        if classes[folder] == "CLIPTextModel":
            published_names(directory / folder / "model.safetensors")
        library = "transformers" if classes[folder].startswith("CLIP") else "diffusers"
        index[folder] = [library, classes[folder]]
    save_json(directory / "model_index.json", index)


def published_names(path):
    """Put back the `text_model.` that transformers 5 drops and all published text encoders have."""
    tensors = load_file(str(path))
    save_file({"text_model." + n.removeprefix("text_model."): v for n, v in tensors.items()}, str(path),
              metadata={"format": "pt"})  # fmt: skip


class Published(torch.nn.Module):
    """A CLIP text encoder with the module paths that it had before transformers 5."""

    def __init__(self, model):
        super().__init__()
        self.text_model = getattr(model, "text_model", model)


def load(directory, kind, dtype="f32"):
    """The components of a pipeline on disk."""
    found = {}
    for folder, name in INDEX[kind][1].items():
        library = transformers if name.startswith("CLIP") else diffusers
        module = getattr(library, name).from_pretrained(str(Path(directory) / folder))
        found[folder] = module.to(models.TORCH_DTYPES[dtype]).eval()
    return found


def writer(kind):
    """How to write this pipeline as a base."""
    return lambda directory, size, seed: make(kind, directory, size, seed)
