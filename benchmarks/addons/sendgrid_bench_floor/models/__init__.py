from . import sendgrid_bench_floor_post
from . import sendgrid_bench_floor_row
