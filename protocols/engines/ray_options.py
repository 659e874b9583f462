"""How the ray engine uses a cluster; each setting from ``STUDIO_RAY_<NAME>`` in the environment."""

from __future__ import annotations

from typing import Literal

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict


class RayOptions(BaseSettings):
    """Which cluster, and what each of its actors gets."""

    model_config = SettingsConfigDict(env_prefix="STUDIO_", frozen=True)

    ray_address: str = Field(
        "", description="Ray cluster to serve from (host:port); empty = one of this machine's own."
    )
    ray_engine: Literal["auto", "vllm", "transformers"] = Field(
        "auto", description="Engine inside of Ray's actors; auto = vllm where they have GPUs."
    )
    ray_replicas: int = Field(1, ge=1, le=1024, description="Ray actors for each base model.")
    ray_cpus: float = Field(1.0, ge=0, description="CPU cores of each Ray actor.")
    ray_gpus: float | None = Field(
        None, ge=0, description="GPUs of each Ray actor; unset = one where the cluster has any."
    )
    ray_wait_s: float = Field(
        120.0, gt=0, description="Seconds a Ray actor may wait for its place on the cluster."
    )
    ray_silent_s: float = Field(
        15.0, gt=0, description="Seconds after which a silent Ray actor must give a sign of life."
    )
